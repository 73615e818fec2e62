/*
 * environ.h - makes environ from the CGI variables
 *
 * What:      makes a new dict for each request by copying a template, because
 *            most requests to one worker have the same names and many of the
 *            same values. A template belongs to one sequence of names and is
 *            only ever copied, so nothing that an application does to its
 *            environ reaches the next one.
 * Owner:     struct wsgi_thread, one cache each.
 * Lifetime:  environ_init() to environ_fini().
 * Threads:   the request thread that the cache belongs to.
 * GIL:       held. No other thread reaches the templates: each environ is a
 *            copy, and what it holds cannot be changed.
 * Errors:    CPython's convention.
 * Blocks:    never.
 * Standards: PEP 3333, environ Variables, Unicode Issues.
 */
#ifndef WSGI_ENVIRON_H
#define WSGI_ENVIRON_H

#include "python/python.h"

#include "gateway/request.h"
#include "wsgi/after_response.h"
#include "wsgi/handler.h"
#include "wsgi/module.h"

#include <stdint.h>

/* How many sequences of names are cached; the least recently used one is
 * replaced. */
enum { ENVIRON_SHAPES = 16 };

struct environ_slot;

/* The template for requests with exactly these names, in this order. */
struct environ_shape {
    uint32_t hash;      /* of the names */
    uint32_t last_hash; /* of the last variable's name ... */
    size_t nparams; /* ... and how many there were, also those without value */
    unsigned flags; /* what else the keys depend on; see environ.c */
    size_t n;
    struct environ_slot *slots;
    PyObject *template;
    /* the template's wsgi_cgi.after_response; borrowed */
    const PyObject *after;
    uint64_t last_used;
};

/* The cache owns all references. */
struct environ_cache {
    struct after_response *after; /* borrowed */
    PyObject *constants;          /* the same in every environ: wsgi.* */
    PyObject *known;              /* interned names */
    PyObject *key_input, *key_after, *key_data, *key_scheme, *key_terminated,
        *key_once, *key_role, *key_request_id;
    struct environ_shape shapes[ENVIRON_SHAPES];
    size_t latest; /* the shape of the request before */
    uint64_t clock;
};

/* 0, or -1 with an exception; call environ_fini() then, too. after must outlive
 * the cache. */
CHECK_RESULT int environ_init(struct environ_cache *c,
                              struct after_response *after,
                              const struct module_state *types,
                              struct wsgi_flags flags);
void environ_fini(struct environ_cache *c);

/* The environ of q, for which request_prepare() has been called. data is NULL
 * unless q is a Filter's. New reference, or NULL with an exception. */
PyObject *environ_new(struct environ_cache *c, struct request *q,
                      PyObject *input, PyObject *data);

#endif
