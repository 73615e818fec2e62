/*
 * request_timeout.h - RequestTimeout: the exception that ends a cancelled request
 *
 * What:      the class, and when it may be raised: once for each request, and
 *            never where it would end anything else.
 * Owner:     the module _wsgi_cgi.
 * Threads:   the request's; request_timeout_raise_async() any.                     GIL: held.
 * Errors:    see each.                                     Blocks: never.
 */
#ifndef CONTEXT_REQUEST_TIMEOUT_H
#define CONTEXT_REQUEST_TIMEOUT_H

#include "context/request_guard.h"
#include "python/python.h"

#include <stdbool.h>

/* The class, for module.c. New reference. */
PyObject *request_timeout_type(PyObject *module);

/* True where exc is one. */
bool request_timeout_matches(PyObject *exc);

/* From here on it may be raised in the request; from there on it may not, and
 * what was thrown but not raised yet is taken back. */
void request_timeout_enable(struct request_guard *g);
void request_timeout_disable(struct request_guard *g);

/* True where the request is cancelled and the application not told yet. */
bool request_timeout_is_due(const struct request_guard *g);

/* True where it was told: whatever exception ends the request now, that is why. */
bool request_timeout_was_raised(const struct request_guard *g);

/* Raises it here: in the request's thread, whose wait was cut short. -1. */
int request_timeout_raise(struct request_guard *g);

/* Raises it in the request's thread when that next runs Python code. */
void request_timeout_raise_async(struct request_guard *g);

#endif
