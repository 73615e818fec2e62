/*
 * start_response.h - start_response() and the write() it returns
 *
 * What:      the type StartResponse, a callable that checks status and headers
 *            while it is called and gives them to gateway/response.
 * Owner:     Python; it borrows the guard until start_response_expire().
 * Lifetime:  any; after the response both callables raise RuntimeError.
 * Threads:   start_response() any, write() the request's own.
 * GIL:       held; write() releases it while the peer does not read.
 * Errors:    TypeError, ValueError (what is wrong with which header),
 *            AssertionError (a second call), OSError (the client is gone).
 * Blocks:    write() as response_write().
 * Standards: PEP 3333, The start_response() Callable, The write() Callable.
 */
#ifndef WSGI_START_RESPONSE_H
#define WSGI_START_RESPONSE_H

#include "context/request_guard.h"
#include "python/python.h"

/* The type, for module.c. New reference. */
PyObject *start_response_type(PyObject *module);

/* New reference; borrows the guard. */
PyObject *start_response_new(PyTypeObject *type, struct request_guard *guard);

/* The response is complete. callable may be NULL. */
void start_response_expire(PyObject *callable);

#endif
