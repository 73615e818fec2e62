/*
 * file_watcher.h - watches the files of the application for changes
 *
 * What:      calls stat() once a second for the APP file, tmp/restart.txt
 *            beside it, the files of --touch-reload, and imported files that
 *            file_watcher_add() names. With --reload=script, imported files
 *            count only while a load is under way or has failed, and for some
 *            seconds after one: a deployment that writes the script first and
 *            the modules later must not leave one half of each. A change counts
 *            when the files have stopped changing: editors write in several
 *            steps.
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

#include <limits.h>
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

/* How far the present code is. */
enum file_watcher_load {
    FILE_WATCHER_LOADING,
    FILE_WATCHER_LOADED,
    FILE_WATCHER_FAILED /* it does not load: older code serves, or error pages */
};

struct file_watcher {
    struct watched_list named; /* APP, tmp/restart.txt, --touch-reload */
    struct watched_list own;   /* imported: of the application */
    struct watched_list libs;  /* of Python and of installed packages */
    struct watched_file *buckets[FILE_WATCHER_BUCKETS]; /* all, by path */
    enum config_reload reload;
    enum file_watcher_load load;
    int64_t recent_until_ms; /* until then a load is recent */
    unsigned in_row; /* changes of imported files alone, one after the other */
    int64_t next_ms; /* when to look again, in clock_ms() */
    bool unsettled;  /* the last look saw a change ... */
    int64_t unsettled_ms; /* ... and the first one of them was then */
    const struct watched_file *changed; /* what it saw; one of several */
    char why[PATH_MAX + 16];            /* file_watcher_look() returns it */
};

/* Remembers the present state of the files. script: an absolute path, or
 * NULL for a module, for which tmp/restart.txt in the working directory
 * counts. A load is about to begin. */
void file_watcher_init(struct file_watcher *t, const struct config *config,
                       const char *script);

void file_watcher_fini(struct file_watcher *t);

/* Adds an imported file; stamp is its state when it was loaded. is_app: it is
 * the module that APP names. A file that is already watched stays as it is, but
 * may become that of APP. */
void file_watcher_add(struct file_watcher *t, const char *path,
                      struct file_id stamp, bool is_app);

/* In every round, before file_watcher_look(): how far the present code is. */
void file_watcher_note(struct file_watcher *t, int64_t now_ms,
                       enum file_watcher_load load);

/* The files are about to be loaded: only later changes count. is_asked: a signal
 * has asked for it. */
void file_watcher_refresh(struct file_watcher *t, bool is_asked);

/* How long until the next look, at most max_ms, where it should not be late. */
int file_watcher_pause(const struct file_watcher *t, int64_t now_ms,
                       int max_ms);

/* "touched: FILE" once for each change, when it has settled; else NULL. The text
 * stays until the next one. A missing file is being replaced: it counts when it
 * exists again. */
const char *file_watcher_look(struct file_watcher *t, int64_t now_ms);

/* For a message: what makes a load that has failed be tried again. */
const char *file_watcher_next_try(const struct file_watcher *t);

#endif
