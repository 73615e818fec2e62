/*
 * touched.h - has the application been touched since it was loaded?
 *
 * What:      watches the APP file and tmp/restart.txt beside it, by their time,
 *            size and inode, once a second.
 * Owner:     the caller.
 * Threads:   one.                                                GIL: not used.
 * Errors:    none: what is not there is a state like any other.
 * Blocks:    file system.
 */
#ifndef PROC_TOUCHED_H
#define PROC_TOUCHED_H

#include "conf/config.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum { TOUCHED_FILES = 2 };

struct touched_stamp {
    uint64_t inode;
    int64_t size, mtime_ns;
};

struct touched {
    char path[TOUCHED_FILES][PATH_MAX]; /* "" = none */
    struct touched_stamp stamp[TOUCHED_FILES];
    int64_t next_ms; /* of clock_ms(): when to look again */
};

/* Notes what the files look like now. script: absolute, NULL for a module, of
 * which only restart.txt in the working folder counts. */
void touched_init(struct touched *t, const struct config *config,
                  const char *script);

/* True once for every change. A file that is gone is being replaced: it counts
 * when it is back. */
bool touched_look(struct touched *t, int64_t now_ms);

#endif
