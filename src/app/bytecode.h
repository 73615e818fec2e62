/*
 * bytecode.h - a script's code object, compiled or from the cache
 *
 * What:      compiles a script of any name, and keeps the result where nobody
 *            but this user can write: in __pycache__ beside the script where that
 *            folder is ours, else in $TMPDIR/wsgi-cgi-UID (mode 0700).
 * Owner:     the caller owns the code object.
 * Threads:   any.                                                 GIL: held.
 * Errors:    a Python exception for the source; none for the cache, which at
 *            worst is not used.                        Blocks: file system.
 */
#ifndef APP_BYTECODE_H
#define APP_BYTECODE_H

#include "python/python.h"

/* New reference. path is absolute and becomes co_filename. */
PyObject *bytecode_load(const char *path);

#endif
