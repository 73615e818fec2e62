/*
 * traceback.h - an exception as text
 *
 * What:      the traceback as python3 prints it, by the module traceback; without
 *            source lines where that module cannot be imported.
 * Owner:     the caller owns what is returned.
 * Threads:   any.                                                    GIL: held.
 * Errors:    CPython's convention.
 * Blocks:    file system (source lines, imports).
 */
#ifndef DEBUG_TRACEBACK_H
#define DEBUG_TRACEBACK_H

#include "python/python.h"

/* Imports what a traceback needs, so that no request has to. Costs milliseconds
 * where the application has not imported it. Leaves no exception. */
void traceback_prepare(void);

/* The traceback as python3 prints it, causes included, in UTF-8. New reference;
 * NULL with an exception. */
PyObject *traceback_format(PyObject *exc);

#endif
