/*
 * fd_reserve.h - descriptor numbers kept free for what would be lost without one
 *
 * What:      a descriptor that comes in a message is discarded by the kernel where
 *            the process has no number left for it. So some numbers are occupied
 *            beforehand, and given up just before the message is received: more
 *            than one, since another thread may open a file just then.
 * Owner:     whoever receives.
 * Threads:   one at a time.                                      GIL: not used.
 * Errors:    false; logs nothing.                                Blocks: never.
 */
#ifndef NET_FD_RESERVE_H
#define NET_FD_RESERVE_H

#include "base/compiler.h"

#include <stdbool.h>

enum { FD_RESERVE_COUNT = 4 };

/* Zero at first. */
struct fd_reserve {
    int fds[FD_RESERVE_COUNT];
    unsigned held;
};

/* Occupies what is missing with duplicates of fd. False: there are not enough. */
CHECK_RESULT bool fd_reserve_hold(struct fd_reserve *s, int fd);

void fd_reserve_release(struct fd_reserve *s);

#endif
