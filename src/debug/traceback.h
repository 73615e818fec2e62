/*
 * traceback.h - an exception as text
 *
 * What:      the traceback as python3 prints it, from the module traceback; if
 *            that module cannot be imported, one without source lines.
 * Owner:     the caller owns what is returned.
 * Lifetime:  nothing is kept.
 * Threads:   any.
 * GIL:       held. Without one: the lists are the caller's alone, and a traceback
 *            has the line of each frame itself, whatever the frame does now.
 * Errors:    CPython's convention: NULL with an exception.
 * Blocks:    file system (source lines, imports).
 */
#ifndef DEBUG_TRACEBACK_H
#define DEBUG_TRACEBACK_H

#include "python/python.h"

/* Imports what a traceback needs, so that no request has to. That takes a few
 * milliseconds if the application has not imported it. Leaves no exception. */
void traceback_prepare(void);

/* The traceback including causes, as bytes in UTF-8. A new reference, or NULL
 * with an exception. */
PyObject *traceback_format(PyObject *exc);

#endif
