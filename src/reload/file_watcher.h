/*
 * file_watcher.h - watches the files of the application for changes
 *
 * What:      calls stat() once a second for the APP file, tmp/restart.txt
 *            beside it, and the files that file_watcher_add() names. A change
 *            counts when the files have stopped changing: editors write in
 *            several steps.
 * Owner:     the caller. All fields belong to its thread.
 * Lifetime:  file_watcher_init() to file_watcher_fini().
 * Threads:   one: the master's, or the control thread.           GIL: not used.
 * Errors:    none: a missing file is a state like any other.
 * Blocks:    file system.
 */
#ifndef RELOAD_FILE_WATCHER_H
#define RELOAD_FILE_WATCHER_H

#include "conf/config.h"
#include "os/file_id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FILE_WATCHER_BUCKETS = 512 };

struct watched_file;

struct watched_list {
    struct watched_file **v;
    size_t n, cap;
    size_t at; /* the next file to look at */
};

struct file_watcher {
    struct watched_list own;  /* of the application */
    struct watched_list libs; /* of Python and of installed packages */
    struct watched_file *buckets[FILE_WATCHER_BUCKETS]; /* all, by path */
    int64_t next_ms; /* when to look again, in clock_ms() */
    bool unsettled;  /* the last look saw a change */
};

/* Remembers the present state of the files. script: an absolute path, or
 * NULL for a module, for which only tmp/restart.txt in the working directory
 * counts. */
void file_watcher_init(struct file_watcher *t, const struct config *config,
                       const char *script);

void file_watcher_fini(struct file_watcher *t);

/* Adds a file; stamp is its state when it was loaded. A file that is already
 * watched stays as it is. */
void file_watcher_add(struct file_watcher *t, const char *path,
                      struct file_id stamp);

/* The files are about to be loaded: only later changes count. */
void file_watcher_refresh(struct file_watcher *t);

/* How long until the next look, at most max_ms. */
int file_watcher_pause(const struct file_watcher *t, int64_t now_ms,
                       int max_ms);

/* True once for each change, when it has settled. A missing file is being
 * replaced: it counts when it exists again. */
bool file_watcher_look(struct file_watcher *t, int64_t now_ms);

#endif
