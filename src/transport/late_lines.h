/*
 * late_lines.h - lines about a request from a thread that is not the request's
 *
 * What:      keeps what the watchdog says about a request, until the request's
 *            own thread sends it to the web server: that thread alone may write
 *            to the connection.
 * Owner:     the watchdog, one for each request thread.
 * Threads:   any, under a lock.                                  GIL: not used.
 * Errors:    none: lines beyond some size, and those that come after the end of
 *            the request, are dropped. They are in the log, too.
 * Blocks:    never.
 */
#ifndef TRANSPORT_LATE_LINES_H
#define TRANSPORT_LATE_LINES_H

#include "base/buf.h"
#include "base/compiler.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct late_lines {
    atomic_bool has_some; /* read without the lock */
    pthread_mutex_t lock;
    uint64_t serial; /* of the request */
    struct buf text;
};

void late_lines_init(struct late_lines *l);

/* The request with this number begins. */
void late_lines_begin(struct late_lines *l, uint64_t serial);

/* Adds whole lines, if that request still runs. */
void late_lines_add(struct late_lines *l, uint64_t serial, const char *lines,
                    size_t n);

/* Takes what there is; the caller calls buf_fini(). */
CHECK_RESULT bool late_lines_take(struct late_lines *l, struct buf *ret);

#endif
