/*
 * imports.h - collects the files of imported modules, for --reload
 *
 * What:      after everything that may import, adds the files of the modules
 *            that are new in sys.modules to a list, for a watcher without
 *            Python.
 * Owner:     the process; the caller of imports_take() owns the list it gets.
 * Lifetime:  from imports_watch(true) to the end of the process.
 * Threads:   any.
 * GIL:       held, but not needed by imports_watch(), imports_take() and
 *            imports_free(). Without one, a lock and the list's atomic head.
 * Errors:    none: a file that cannot be added is left out.
 * Blocks:    on the file system.
 */
#ifndef APP_IMPORTS_H
#define APP_IMPORTS_H

#include "base/compiler.h"
#include "conf/config.h"
#include "os/file_id.h"

#include <stdbool.h>

struct imports_file {
    struct imports_file *next;
    /* When it was imported. All 0: it did not exist, or has changed meanwhile,
     * so any file found there now is new. */
    struct file_id stamp;
    bool is_app; /* of the module that APP names */
    char path[]; /* absolute */
};

/* Scripts of --scripts-in count one by one, unless all modules are to count. */
static inline bool
imports_matter(const struct config *config)
{
    return config->reload == RELOAD_MODULES ||
           (config->reload == RELOAD_SCRIPT && config->app != NULL);
}

/* Turns this on or off, before there are threads. While it is off, which is the
 * default, the functions below do nothing. */
void imports_watch(bool on);

/* Call these before and after each load and each request. */
void imports_begin(void);
void imports_end(void);

/* Adds a file that matters, imported or not. */
void imports_add(const char *path, struct file_id stamp);

/* Adds the file of the module (a PyObject) that APP names. */
void imports_add_app(void *module);

/* The files since the last call; NULL if there are none. */
CHECK_RESULT struct imports_file *imports_take(void);

/* Frees the first file of a list and returns the next. */
struct imports_file *imports_free(struct imports_file *first);

#endif
