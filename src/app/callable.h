/*
 * callable.h - can a WSGI server call this object?
 *
 * What:      tells an ASGI application, a factory, a class or a module that
 *            stands where the application should, before the first request.
 *            Only what must fail at every request is refused: what cannot be
 *            looked into (C code, proxies, *args) passes.
 * Owner:     the caller, of everything.
 * Threads:   any.                                    GIL: held by the caller.
 * Errors:    a Python exception.                                Blocks: never.
 * Standards: PEP 3333: two positional arguments, an iterable as the result.
 */
#ifndef APP_CALLABLE_H
#define APP_CALLABLE_H

#include "python/python.h"

/* where and name are for the message: the file or module, and what to call in
 * it. 0, or -1 with a TypeError of one sentence. */
CHECK_RESULT int callable_check(PyObject *o, const char *where,
                                const char *name);

/* The same of what an application returned that cannot be iterated: raises
 * TypeError. */
void callable_refuse_result(PyObject *result);

#endif
