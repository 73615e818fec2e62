/*
 * file_wrapper.h - wsgi.file_wrapper
 *
 * What:      the type FileWrapper(filelike, blksize=8192): an iterator over
 *            filelike.read(blksize) whose close() closes the file, once. What
 *            the application returns may go out by sendfile instead.
 * Owner:     Python.
 * Threads:   any.                                                     GIL: held.
 * Errors:    CPython's convention.               Blocks: as the file's methods.
 * Standards: PEP 3333, Optional Platform-Specific File Handling.
 */
#ifndef WSGI_FILE_WRAPPER_H
#define WSGI_FILE_WRAPPER_H

#include "python/python.h"

#include <stdint.h>
#include <sys/types.h>

/* The type, for module.c. New reference. */
PyObject *file_wrapper_type(PyObject *module);

/* Where the bytes that iteration would give are to be found in a descriptor. */
struct file_span {
    int fd;
    off_t offset;
    uint64_t count; /* to the end of the file as it is now */
};

/* 1 and *ret_span where wrapper is exactly a FileWrapper around an open regular
 * file of Python's own unmodified types; 0 where it has to be iterated. */
int file_wrapper_span(PyTypeObject *type, PyObject *wrapper,
                      struct file_span *ret_span);

#endif
