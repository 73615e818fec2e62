/*
 * failed_imports.h - the files of a failed load, and whether they have changed
 *
 * What:      the identity, size and time of each file that took part: the
 *            script itself, the files of the traceback and, for a module that
 *            was not found, the files where it would be.
 * Owner:     the application that failed.
 * Lifetime:  failed_imports_init() to the last failed_imports_clear().
 * Threads:   one at a time.
 * GIL:       held for the functions that take or unload Python objects. Without
 *            one, too, the load lock of the application protects the struct.
 * Errors:    none: a file that cannot be recorded is left out.
 * Blocks:    on the file system.
 */
#ifndef APP_FAILED_IMPORTS_H
#define APP_FAILED_IMPORTS_H

#include "python/python.h"

#include "os/file_id.h"

#include <stdbool.h>
#include <stddef.h>

enum { FAILED_IMPORTS_MAX = 64 };

/* The owner's lock protects it. */
struct failed_imports {
    struct {
        char *path;
        struct file_id stamp;
    } v[FAILED_IMPORTS_MAX];
    size_t n;
};

void failed_imports_init(struct failed_imports *f);

/* Drops all files; frees what the struct holds. */
void failed_imports_clear(struct failed_imports *f);

/* Adds a file. stamp is its state before it was loaded. */
void failed_imports_add(struct failed_imports *f, const char *path,
                        struct file_id stamp);

/* Adds the files in the traceback of exc and of its causes. Does not change the
 * error indicator. */
void failed_imports_add_exception(struct failed_imports *f, PyObject *exc);

/* Adds the file of a module, if it is in sys.modules. */
void failed_imports_add_module(struct failed_imports *f, const char *name);

/* True if one of the files is no longer as it was. */
bool failed_imports_changed(const struct failed_imports *f);

/* Removes the modules of changed files from sys.modules, so that they are
 * imported again. */
void failed_imports_unload_changed(const struct failed_imports *f);

#endif
