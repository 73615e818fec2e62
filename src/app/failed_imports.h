/*
 * failed_imports.h - the files that took part in a failed load, and whether they changed
 *
 * What:      device, inode, size and time of each file: the script itself and
 *            those the traceback goes through; of a module that was not
 *            found, where it would be.
 * Owner:     the application that failed.
 * Lifetime:  failed_imports_init() to failed_imports_fini(); failed_imports_clear() forgets all files.
 * Threads:   one at a time.     GIL: held for the functions with Python objects.
 * Errors:    none: a file that cannot be watched is not.   Blocks: file system.
 */
#ifndef APP_FAILED_IMPORTS_H
#define APP_FAILED_IMPORTS_H

#include "python/python.h"

#include "os/file_id.h"

#include <stdbool.h>
#include <stddef.h>

enum { FAILED_IMPORTS_MAX = 64 };

struct failed_imports {
    struct {
        char *path;
        struct file_id stamp;
    } v[FAILED_IMPORTS_MAX];
    size_t n;
};

void failed_imports_init(struct failed_imports *f);
void failed_imports_clear(struct failed_imports *f);

/* stamp: what it looked like before it was loaded. */
void failed_imports_add(struct failed_imports *f, const char *path,
                        struct file_id stamp);

/* Adds the files of the exception's traceback, and of its causes'. Leaves the
 * error indicator alone. */
void failed_imports_add_exception(struct failed_imports *f, PyObject *exc);

/* The file a module was loaded from, where it is in sys.modules. */
void failed_imports_add_module(struct failed_imports *f, const char *name);

bool failed_imports_changed(const struct failed_imports *f);

/* Removes the modules of changed files from sys.modules, so that they are
 * imported anew. */
void failed_imports_unload_changed(const struct failed_imports *f);

#endif
