/*
 * after_response.h - wsgi_cgi.after_response: work after the response
 *
 * What:      the type AfterResponse, a callable that notes calls while a
 *            request runs; and the calls themselves, made in order once the
 *            response and the connection are done with. One struct serves the
 *            requests of a thread one after another, and so does the callable,
 *            unless the application keeps it beyond its request: then it
 *            expires, and the next request gets a new one.
 * Owner:     struct wsgi_thread.
 * Lifetime:  after_response_init() to after_response_fini().
 * Threads:   noting a call any; the rest the request's thread.
 * GIL:       held. Without one, a lock in the callable, and every request gets
 *            a callable of its own.
 * Errors:    CPython's convention. TypeError: not callable; RuntimeError: the
 *            request is over, or this is a forked child. What the calls raise
 *            is logged.
 * Blocks:    after_response_run() as long as the calls do.
 */
#ifndef WSGI_AFTER_RESPONSE_H
#define WSGI_AFTER_RESPONSE_H

#include "context/request_guard.h"
#include "python/python.h"

#include <stdbool.h>
#include <stddef.h>

/* Any thread writes calls, the request's the rest. The GIL protects calls or,
 * without one, the lock in the callable. */
struct after_response {
    PyTypeObject *type; /* borrowed from the module */
    struct request_guard *guard;
    PyObject *callable;  /* the environ entry; NULL: none yet */
    size_t in_templates; /* references to it that wsgi/environ holds */
    PyObject *calls;     /* a list; NULL: none */
    PyObject *due;       /* the same, for after_response_run() */
    /* contextvars for the calls; only set if there are calls */
    PyObject *context;
};

/* Creates the type, for module.c. New reference, or NULL with an exception. */
PyObject *after_response_type(PyObject *module);

void after_response_init(struct after_response *a, PyTypeObject *type,
                         struct request_guard *guard);
void after_response_fini(struct after_response *a);

/* The entry for environ; borrowed, NULL with an exception. */
PyObject *after_response_callable(struct after_response *a);

/* The application has returned; context is what it ran in. True if there are
 * calls: then call after_response_run(); until then more can be noted. */
CHECK_RESULT bool after_response_is_due(struct after_response *a,
                                        PyObject *context);

/* Makes the calls, and those noted meanwhile, inside the guard's request. In a
 * forked child that comes back from a call it returns at once, with that call's
 * exception, if any, still set. */
void after_response_run(struct after_response *a);

#endif
