/*
 * input_stream.h - wsgi.input: the request's body as a file
 *
 * What:      the type InputStream; io.BytesIO's semantics for read(), readline(),
 *            readlines() and iteration, on bytes that may still be on their way.
 *            read(n) waits for n bytes or the end; readline() only for its line;
 *            read1() and readinto() for any bytes.
 * Owner:     Python; it borrows the guard until input_stream_expire().
 * Lifetime:  any; after the request every method raises RuntimeError.
 * Threads:   any, one at a time (request_guard.h).
 * GIL:       held; released while a read waits.
 * Errors:    OSError by errno where the body is cut short, late or too large.
 * Blocks:    up to --body-timeout without a byte.
 * Standards: PEP 3333, Input and Error Streams.
 */
#ifndef WSGI_INPUT_STREAM_H
#define WSGI_INPUT_STREAM_H

#include "context/request_guard.h"
#include "python/python.h"

/* The type, for module.c. New reference. */
PyObject *input_stream_type(PyObject *module);

/* New reference; borrows the guard. */
PyObject *input_stream_new(PyTypeObject *type, struct request_guard *guard,
                           enum request_stream stream);

/* Its request has ended. input may be NULL. */
void input_stream_expire(PyObject *input);

#endif
