#include "net/spare.h"

#include "os/fd.h"

bool
spare_hold(struct spare *s, int fd)
{
    while (s->held < SPARE_COUNT) {
        int copy = fd_dup_high(fd);
        if (copy < 0) {
            return false;
        }
        s->fds[s->held++] = copy;
    }
    return true;
}

void
spare_give_up(struct spare *s)
{
    while (s->held > 0) {
        fd_close(&s->fds[--s->held]);
    }
}
