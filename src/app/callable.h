/*
 * callable.h - whether a WSGI server can call an object
 *
 * What:      finds, before the first request, an ASGI application, a factory, a
 *            class or a module in place of the application. Refuses only what
 *            must fail at every request: what cannot be inspected (C code,
 *            proxies, *args) passes.
 * Owner:     the caller, of everything.
 * Threads:   any.
 * GIL:       held by the caller.
 * Errors:    a Python exception.
 * Blocks:    never.
 * Standards: PEP 3333: two positional arguments, an iterable as the result.
 */
#ifndef APP_CALLABLE_H
#define APP_CALLABLE_H

#include "python/python.h"

/* where (the file or module) and name (what to call in it) are for the message.
 * 0, or -1 with a TypeError of one sentence. */
CHECK_RESULT int callable_check(PyObject *o, const char *where,
                                const char *name);

/* For messages: the name of what is likely to be the application in the module,
 * new reference; or NULL without an exception. */
PyObject *callable_of(PyObject *module);

/* Raises TypeError for the result of an application that is not iterable. */
void callable_refuse_result(PyObject *result);

#endif
