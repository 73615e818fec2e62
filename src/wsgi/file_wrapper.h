/*
 * file_wrapper.h - wsgi.file_wrapper
 *
 * What:      the type FileWrapper(filelike, blksize=8192): an iterator over
 *            filelike.read(blksize) whose close() closes the file, once. If the
 *            application returns one it may be sent by sendfile().
 * Owner:     Python.
 * Threads:   any.
 * GIL:       held.
 * Errors:    CPython's convention.
 * Blocks:    as long as the file's methods do.
 * Standards: PEP 3333, Optional Platform-Specific File Handling.
 */
#ifndef WSGI_FILE_WRAPPER_H
#define WSGI_FILE_WRAPPER_H

#include "python/python.h"

#include <stdint.h>
#include <sys/types.h>

/* Creates the type, for module.c. New reference, or NULL with an exception. */
PyObject *file_wrapper_type(PyObject *module);

/* The bytes that iteration would give, as a part of a file. */
struct file_span {
    int fd;
    off_t offset;
    uint64_t count; /* to the present end of the file */
};

/* 1 and *ret_span if wrapper is exactly a FileWrapper around an open regular
 * file of one of Python's own types; 0 if it must be iterated. Leaves no
 * exception. */
int file_wrapper_span(PyTypeObject *type, PyObject *wrapper,
                      struct file_span *ret_span);

#endif
