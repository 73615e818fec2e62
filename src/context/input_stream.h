/*
 * input_stream.h - wsgi.input: the body of the request as a file
 *
 * What:      the type InputStream. read(), readline(), readlines() and
 *            iteration work as in io.BytesIO, on bytes that may not have
 *            arrived yet: read(n) waits for n bytes or the end, readline() for
 *            its line only, read1() and readinto() for any bytes.
 * Owner:     Python; the object borrows the guard until input_stream_expire().
 * Lifetime:  any; after the request every method raises RuntimeError.
 * Threads:   any, one at a time (request_guard.h).
 * GIL:       held; released while a read waits. The guard protects the rest.
 * Errors:    OSError with an errno if the body is cut short, late or too large.
 * Blocks:    up to --body-timeout without a byte.
 * Standards: PEP 3333, Input and Error Streams.
 */
#ifndef CONTEXT_INPUT_STREAM_H
#define CONTEXT_INPUT_STREAM_H

#include "context/request_guard.h"
#include "python/python.h"

/* Creates the type, for module.c. New reference, or NULL with an exception. */
PyObject *input_stream_type(PyObject *module);

/* New reference, or NULL with an exception; borrows the guard. */
PyObject *input_stream_new(PyTypeObject *type, struct request_guard *guard,
                           enum request_stream stream);

/* Its request has ended: it raises RuntimeError from now on. Call it inside the
 * guard. input may be NULL. */
void input_stream_expire(PyObject *input);

#endif
