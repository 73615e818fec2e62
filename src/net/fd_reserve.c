/*
 * fd_reserve.c - keeps descriptor numbers free for descriptors in messages
 */
#include "net/fd_reserve.h"

#include "os/fd.h"

#include <assert.h>

bool
fd_reserve_hold(struct fd_reserve *s, int fd)
{
    assert(s->held <= FD_RESERVE_COUNT);
    while (s->held < FD_RESERVE_COUNT) {
        int copy = fd_dup_high(fd);
        if (copy < 0) {
            return false;
        }
        s->fds[s->held++] = copy;
    }
    return true;
}

void
fd_reserve_release(struct fd_reserve *s)
{
    while (s->held > 0) {
        fd_close(&s->fds[--s->held]);
    }
}
