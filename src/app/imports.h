/*
 * imports.h - collects the files of imported modules, for --reload=modules
 *
 * What:      after everything that may import, adds the files of the modules
 *            that are new in sys.modules to a list, for a watcher without
 *            Python.
 * Owner:     the process; the caller of imports_take() owns the list it gets.
 * Lifetime:  from imports_watch(true) to the end of the process.
 * Threads:   any.
 * GIL:       held, but not needed by imports_watch(), imports_take() and
 *            imports_free().
 * Errors:    none: a file that cannot be added is left out.
 * Blocks:    on the file system.
 */
#ifndef APP_IMPORTS_H
#define APP_IMPORTS_H

#include "base/compiler.h"
#include "os/file_id.h"

#include <stdbool.h>

struct imports_file {
    struct imports_file *next;
    /* When it was imported. All 0: it did not exist, or has changed meanwhile,
     * so any file found there now is new. */
    struct file_id stamp;
    char path[]; /* absolute */
};

/* Turns this on or off, before there are threads. While it is off, which is the
 * default, the functions below do nothing. */
void imports_watch(bool on);

/* Call these before and after each load and each request. */
void imports_begin(void);
void imports_end(void);

/* Adds a file that matters, imported or not. */
void imports_add(const char *path, struct file_id stamp);

/* The files since the last call; NULL if there are none. */
CHECK_RESULT struct imports_file *imports_take(void);

/* Frees the first file of a list and returns the next. */
struct imports_file *imports_free(struct imports_file *first);

#endif
