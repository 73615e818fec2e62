/*
 * file_watcher.h - has the application been touched since it was loaded?
 *
 * What:      watches the APP file, tmp/restart.txt beside it, and the files it is
 *            told of, by what stat() says, once a second. What changes is let
 *            settle first: editors write in several steps.
 * Owner:     the caller.
 * Lifetime:  file_watcher_init() to file_watcher_fini().
 * Threads:   one.                                                GIL: not used.
 * Errors:    none: what is not there is a state like any other.
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
    size_t at; /* where the next look goes on */
};

struct file_watcher {
    struct watched_list own;  /* the application's */
    struct watched_list libs; /* Python's and installed packages' */
    struct watched_file *buckets[FILE_WATCHER_BUCKETS]; /* all, by their path */
    int64_t next_ms; /* of clock_ms(): when to look again */
    bool unsettled;  /* the last look saw a change */
};

/* Notes what the files look like now. script: absolute, NULL for a module, of
 * which only restart.txt in the working folder counts. */
void file_watcher_init(struct file_watcher *t, const struct config *config,
                       const char *script);

void file_watcher_fini(struct file_watcher *t);

/* One more file to watch; stamp is what it looked like when it was loaded. A
 * file that is watched already goes on as it was. */
void file_watcher_add(struct file_watcher *t, const char *path,
                      struct file_id stamp);

/* What is there now is about to be loaded: only what comes later counts. */
void file_watcher_refresh(struct file_watcher *t);

/* How long until the next look is due: at most max_ms. */
int file_watcher_pause(const struct file_watcher *t, int64_t now_ms,
                       int max_ms);

/* True once for every change that has settled. A file that is gone is being
 * replaced: it counts when it is back. */
bool file_watcher_look(struct file_watcher *t, int64_t now_ms);

#endif
