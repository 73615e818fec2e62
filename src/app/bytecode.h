/*
 * bytecode.h - the code object of a script, compiled or from the cache
 *
 * What:      compiles a script of any name and caches the result where only
 *            this user can write: in __pycache__ beside the script if that
 *            folder is ours, else in $TMPDIR/wsgi-cgi-UID (mode 0700).
 * Owner:     the caller owns the code object.
 * Threads:   any.
 * GIL:       held. Without one, too: no data is shared; files of the cache are
 *            replaced by rename().
 * Errors:    a Python exception for the source; none for the cache, which is
 *            then not used.
 * Blocks:    on the file system.
 */
#ifndef APP_BYTECODE_H
#define APP_BYTECODE_H

#include "python/python.h"

/* path is absolute and becomes co_filename. New reference, or NULL with an
 * exception. */
PyObject *bytecode_load(const char *path);

#endif
