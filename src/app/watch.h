/*
 * watch.h - the files that took part in a failed load, and whether they changed
 *
 * What:      device, inode, size and time of each file: the script itself and
 *            those the traceback goes through; of a module that was not
 *            found, where it would be.
 * Owner:     the application that failed.
 * Lifetime:  watch_init() to watch_fini(); watch_clear() forgets all files.
 * Threads:   one at a time.     GIL: held for the functions with Python objects.
 * Errors:    none: a file that cannot be watched is not.   Blocks: file system.
 */
#ifndef APP_WATCH_H
#define APP_WATCH_H

#include "python/python.h"

#include "os/file_id.h"

#include <stdbool.h>
#include <stddef.h>

enum { WATCH_MAX = 64 };

struct watch {
    struct {
        char *path;
        struct file_id stamp;
    } v[WATCH_MAX];
    size_t n;
};

void watch_init(struct watch *w);
void watch_clear(struct watch *w);

/* stamp: what it looked like before it was loaded. */
void watch_add(struct watch *w, const char *path, struct file_id stamp);

/* Adds the files of the exception's traceback, and of its causes'. Leaves the
 * error indicator alone. */
void watch_add_exception(struct watch *w, PyObject *exc);

/* The file a module was loaded from, where it is in sys.modules. */
void watch_add_module(struct watch *w, const char *name);

bool watch_changed(const struct watch *w);

/* Removes the modules of changed files from sys.modules, so that they are
 * imported anew. */
void watch_forget_changed(const struct watch *w);

#endif
