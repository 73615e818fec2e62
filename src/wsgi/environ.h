/*
 * environ.h - from CGI variables to the environ dictionary
 *
 * What:      makes one fresh dict a request by copying a template: most requests
 *            to one worker carry the same names and many of the same values. A
 *            template belongs to one sequence of names and is only ever copied,
 *            so nothing an application does to its environ reaches the next.
 * Owner:     struct wsgi_thread, one cache each.
 * Lifetime:  environ_init() to environ_fini().
 * Threads:   the request thread it belongs to.                       GIL: held.
 * Errors:    CPython's convention.                                Blocks: never.
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

/* How many sequences of names are remembered; the oldest goes. */
enum { ENVIRON_SHAPES = 16 };

struct environ_slot;

/* The template for requests with just these names, in this order. */
struct environ_shape {
    uint32_t hash;  /* of the names */
    unsigned flags; /* what else decides about keys; see environ.c */
    size_t n;
    struct environ_slot *slots;
    PyObject *template;
    const PyObject *after; /* wsgi_cgi.after_response, as the template has it */
    uint64_t last_used;
};

struct environ_cache {
    struct after_response *after; /* borrowed */
    PyObject *constants;          /* wsgi.*: in every environ */
    PyObject *known;              /* interned names */
    PyObject *key_input, *key_after, *key_data, *key_scheme, *key_terminated,
        *key_once, *key_role, *key_request_id;
    struct environ_shape shapes[ENVIRON_SHAPES];
    uint64_t clock;
};

/* 0, or -1 with an exception; then environ_fini() is to be called as well. after
 * must outlive the cache. */
CHECK_RESULT int environ_init(struct environ_cache *c,
                              struct after_response *after,
                              const struct module_state *types,
                              struct wsgi_flags flags);
void environ_fini(struct environ_cache *c);

/* A dict for q, which has been prepared. data is NULL but for a Filter. New
 * reference. */
PyObject *environ_new(struct environ_cache *c, struct request *q,
                      PyObject *input, PyObject *data);

#endif
