#include "net/fd_reserve.h"

#include "os/fd.h"

bool
fd_reserve_hold(struct fd_reserve *s, int fd)
{
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
