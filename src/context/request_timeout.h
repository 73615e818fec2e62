/*
 * request_timeout.h - RequestTimeout: the exception that ends a cancelled
 * request
 *
 * What:      the class, and the rules for raising it: once for each request,
 *            and never where it would end anything but the request.
 * Owner:     the module _wsgi_cgi.
 * Lifetime:  the class lives as long as the process.
 * Threads:   the request's; request_timeout_raise_async() and
 *            request_timeout_is_due() any.
 * GIL:       held. What the functions look at is under the guard's state lock, so
 *            that on a free-threaded Python, too, the exception cannot come
 *            after request_timeout_disable(), or for the next request.
 * Errors:    none, except as documented below.
 * Blocks:    never.
 */
#ifndef CONTEXT_REQUEST_TIMEOUT_H
#define CONTEXT_REQUEST_TIMEOUT_H

#include "context/request_guard.h"
#include "python/python.h"

#include <stdbool.h>

/* Creates the class, for module.c. New reference, or NULL with an exception. */
PyObject *request_timeout_type(PyObject *module);

/* True if exc is a RequestTimeout. */
bool request_timeout_matches(PyObject *exc);

/* After enable the exception may be raised in this request; after disable it
 * may not, and one that was set asynchronously but not raised yet is
 * cancelled. */
void request_timeout_enable(struct request_guard *g);
void request_timeout_disable(struct request_guard *g);

/* True if the request is cancelled, and the exception may be raised and has not
 * been yet. */
bool request_timeout_is_due(struct request_guard *g);

/* True if it has been raised: then it is the reason for whatever exception ends
 * the request. */
bool request_timeout_was_raised(const struct request_guard *g);

/* Raises it in the request's thread, which calls this. Returns -1. */
int request_timeout_raise(struct request_guard *g);

/* If it is due: raises it in the request's thread when that next runs Python
 * code; but not if the thread is in a wait of ours, which a signal ends. */
enum request_timeout_step {
    REQUEST_TIMEOUT_NOT_DUE,
    REQUEST_TIMEOUT_SET,
    REQUEST_TIMEOUT_BLOCKED
};
enum request_timeout_step request_timeout_raise_async(struct request_guard *g);

#endif
