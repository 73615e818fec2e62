/*
 * fd_reserve.h - keeps descriptor numbers free for descriptors in messages
 *
 * What:      the kernel discards a descriptor in a message where the process
 *            has no number left for it. So some numbers are kept in use, and
 *            closed just before a message is received; several, since other
 *            threads may open files at the same time.
 * Owner:     the receiver.
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

/* Fills the reserve with duplicates of fd. False: it is not full. */
CHECK_RESULT bool fd_reserve_hold(struct fd_reserve *s, int fd);

void fd_reserve_release(struct fd_reserve *s);

#endif
