/*
 * after_response.h - wsgi_cgi.after_response: work that runs once the client is served
 *
 * What:      the type AfterResponse, a callable that notes calls while a request
 *            runs, and the calls themselves, made in the order they came when
 *            response and connection are done with. One struct serves the
 *            requests of a thread one after the other; so does the callable,
 *            unless the application keeps it beyond its request: then it expires
 *            and the next request gets a new one.
 * Owner:     struct wsgi_thread.
 * Lifetime:  after_response_init() to after_response_fini().
 * Threads:   noting a call any; the rest the request's thread.
 * GIL:       held.
 * Errors:    CPython's convention. TypeError: not callable; RuntimeError: the
 *            request is over, or this is a forked child. What the calls raise is
 *            logged.
 * Blocks:    after_response_run() as long as the calls do.
 */
#ifndef WSGI_AFTER_RESPONSE_H
#define WSGI_AFTER_RESPONSE_H

#include "context/request_guard.h"
#include "python/python.h"

#include <stdbool.h>
#include <stddef.h>

struct after_response {
    PyTypeObject *type; /* borrowed from the module */
    struct request_guard *guard;
    PyObject *callable;  /* the environ entry; NULL: to be made */
    size_t in_templates; /* references to it that are wsgi/environ's */
    PyObject *calls;     /* a list; NULL: none */
    PyObject *context;   /* contextvars the calls are to see, with calls only */
};

/* The type, for module.c. New reference. */
PyObject *after_response_type(PyObject *module);

void after_response_init(struct after_response *a, PyTypeObject *type,
                         struct request_guard *guard);
void after_response_fini(struct after_response *a);

/* What environ gets; borrowed, NULL with an exception. */
PyObject *after_response_callable(struct after_response *a);

/* The application has returned; context is what it ran in. True where there are
 * calls to be made: after_response_run() must follow, and until then more can be noted. */
CHECK_RESULT bool after_response_is_due(struct after_response *a,
                                        PyObject *context);

/* Makes the calls, those that are noted meanwhile too, inside the guard's
 * request. In a forked child that comes back from one it returns at once, that
 * call's exception, if any, still set. */
void after_response_run(struct after_response *a);

#endif
