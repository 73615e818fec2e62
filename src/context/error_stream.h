/*
 * error_stream.h - wsgi.errors, sys.stdout and sys.stderr
 *
 * What:      the type ErrorStream. Text goes, in whole lines, to the log of the
 *            request that the calling thread runs, or to fd 2 if it runs none.
 *            A line without its end waits, per thread, for the rest, for
 *            flush() or for the end of the request.
 * Owner:     Python owns the streams, each thread its waiting line.
 * Lifetime:  any; a stream does not refer to a request, so it may outlive it.
 * Threads:   any.
 * GIL:       held; released while a write blocks. Nothing depends on it: the
 *            streams do not change, the waiting line is the thread's own.
 * Errors:    none, whatever the text; a line that cannot be written is lost.
 * Blocks:    while the log's reader does not read.
 * Standards: PEP 3333, Input and Error Streams.
 */
#ifndef CONTEXT_ERROR_STREAM_H
#define CONTEXT_ERROR_STREAM_H

#include "python/python.h"

#include <stdbool.h>
#include <stddef.h>

/* Creates the type, for module.c. New reference, or NULL with an exception. */
PyObject *error_stream_type(PyObject *module);

/* A stream. name is static text such as "<stderr>". New reference, or NULL with
 * an exception. */
PyObject *error_stream_new(PyTypeObject *type, const char *name);

/* Makes sys.stdout and sys.stderr streams of this type; sys.__stdout__ and
 * sys.__stderr__ stay as they are. Call it after Python has started. 0, or -1
 * with an exception. */
CHECK_RESULT int error_stream_install(PyTypeObject *type);

/* Does what write() does with these bytes. */
void error_stream_write(const char *bytes, size_t n);

/* True if this thread has written to sys.stdout, since the last call, what a
 * CGI script begins its response with, such as "Content-Type: ". */
bool error_stream_take_cgi_head(void);

/* Sends what waits in this thread, as it is. */
void error_stream_flush(void);

/* Sends what waits in this thread as a whole line. Call it at the end of a
 * request. */
void error_stream_end_line(void);

#endif
