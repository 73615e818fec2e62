/*
 * spare.h - descriptor numbers kept free for what would be lost without one
 *
 * What:      a descriptor that comes in a message is discarded by the kernel where
 *            the process has no number left for it. So some numbers are occupied
 *            beforehand, and given up just before the message is received: more
 *            than one, since another thread may open a file just then.
 * Owner:     whoever receives.
 * Threads:   one at a time.                                      GIL: not used.
 * Errors:    false; logs nothing.                                Blocks: never.
 */
#ifndef NET_SPARE_H
#define NET_SPARE_H

#include "base/compiler.h"

#include <stdbool.h>

enum { SPARE_COUNT = 4 };

/* Zero at first. */
struct spare {
    int fds[SPARE_COUNT];
    unsigned held;
};

/* Occupies what is missing with duplicates of fd. False: there are not enough. */
CHECK_RESULT bool spare_hold(struct spare *s, int fd);

void spare_give_up(struct spare *s);

#endif
