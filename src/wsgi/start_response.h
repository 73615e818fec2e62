/*
 * start_response.h - start_response() and the write() that it returns
 *
 * What:      the type StartResponse, a callable that checks status and headers
 *            at once and passes them to gateway/response.
 * Owner:     Python; the object borrows the guard until
 *            start_response_expire().
 * Lifetime:  any; after the response both callables raise RuntimeError.
 * Threads:   start_response() any, write() the request's own.
 * GIL:       held; write() releases it while the client does not read. The guard
 *            protects the rest.
 * Errors:    TypeError, ValueError (which header, and what is wrong with it),
 *            AssertionError (a second call), OSError (the client has gone).
 * Blocks:    write() as response_write().
 * Standards: PEP 3333, The start_response() Callable, The write() Callable.
 */
#ifndef WSGI_START_RESPONSE_H
#define WSGI_START_RESPONSE_H

#include "context/request_guard.h"
#include "python/python.h"

/* Creates the type, for module.c. New reference, or NULL with an exception. */
PyObject *start_response_type(PyObject *module);

/* New reference, or NULL with an exception; borrows the guard. */
PyObject *start_response_new(PyTypeObject *type, struct request_guard *guard);

/* The response is complete: the callable raises RuntimeError from now on. Call
 * it inside the guard. callable may be NULL. */
void start_response_expire(PyObject *callable);

#endif
