/*
 * touched.h - has the application been touched since it was loaded?
 *
 * What:      watches the APP file, tmp/restart.txt beside it, and the files it is
 *            told of, by what stat() says, once a second. What changes is let
 *            settle first: editors write in several steps.
 * Owner:     the caller.
 * Lifetime:  touched_init() to touched_fini().
 * Threads:   one.                                                GIL: not used.
 * Errors:    none: what is not there is a state like any other.
 * Blocks:    file system.
 */
#ifndef RELOAD_TOUCHED_H
#define RELOAD_TOUCHED_H

#include "conf/config.h"
#include "os/file_id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TOUCHED_BUCKETS = 512 };

struct touched_file;

struct touched_list {
    struct touched_file **v;
    size_t n, cap;
    size_t at; /* where the next look goes on */
};

struct touched {
    struct touched_list own;  /* the application's */
    struct touched_list libs; /* Python's and installed packages' */
    struct touched_file *buckets[TOUCHED_BUCKETS]; /* all, by their path */
    int64_t next_ms; /* of clock_ms(): when to look again */
    bool unsettled;  /* the last look saw a change */
};

/* Notes what the files look like now. script: absolute, NULL for a module, of
 * which only restart.txt in the working folder counts. */
void touched_init(struct touched *t, const struct config *config,
                  const char *script);

void touched_fini(struct touched *t);

/* One more file to watch; stamp is what it looked like when it was loaded. A
 * file that is watched already goes on as it was. */
void touched_add(struct touched *t, const char *path, struct file_id stamp);

/* What is there now is about to be loaded: only what comes later counts. */
void touched_refresh(struct touched *t);

/* How long until the next look is due: at most max_ms. */
int touched_pause(const struct touched *t, int64_t now_ms, int max_ms);

/* True once for every change that has settled. A file that is gone is being
 * replaced: it counts when it is back. */
bool touched_look(struct touched *t, int64_t now_ms);

#endif
