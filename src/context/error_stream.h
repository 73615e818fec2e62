/*
 * error_stream.h - wsgi.errors, sys.stdout and sys.stderr: text on its way to a log
 *
 * What:      the type ErrorStream. Text goes, in whole lines, to the log of the
 *            request that the calling thread runs, and to fd 2 where it runs
 *            none. A line without its end waits, per thread, for the rest, for
 *            flush() or for the end of the request.
 * Owner:     the objects are Python's; what waits belongs to the thread.
 * Lifetime:  any; a stream knows no request, so it cannot outlive one.
 * Threads:   any.                 GIL: held; released while a write blocks.
 * Errors:    none for any text; a line that cannot be written is lost.
 * Blocks:    as long as the log's reader does.
 * Standards: PEP 3333, Input and Error Streams.
 */
#ifndef CONTEXT_ERROR_STREAM_H
#define CONTEXT_ERROR_STREAM_H

#include "python/python.h"

#include <stddef.h>

/* The type, for module.c. New reference. */
PyObject *error_stream_type(PyObject *module);

/* A stream; name is static text such as "<stderr>". New reference. */
PyObject *error_stream_new(PyTypeObject *type, const char *name);

/* After Python started: sys.stdout and sys.stderr become streams of this type,
 * while sys.__stdout__ and sys.__stderr__ stay. 0, or -1 with an exception. */
CHECK_RESULT int error_stream_install(PyTypeObject *type);

/* What write() does with these bytes. */
void error_stream_write(const char *bytes, size_t n);

/* Sends what waits in this thread as it is; at the program's end, too. */
void error_stream_flush(void);

/* The request of this thread ends: what waits becomes a whole line. */
void error_stream_end_line(void);

#endif
