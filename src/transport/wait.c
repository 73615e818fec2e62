/*
 * wait.c - waits until a transport's descriptor is ready
 */
#include "transport/wait.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>

enum {
    WAIT_MAX_MS = 60000,
    WAIT_WATCHED_MS = 500 /* if the request can be cancelled */
};

int
transport_wait(struct request *q, int fd, short events, int64_t deadline_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    int longest = q->cancel != NULL ? WAIT_WATCHED_MS : WAIT_MAX_MS;
    int result;

    assert(fd >= 0 && events != 0);
    request_wait_begin(q,
                       (events & POLLOUT) != 0 ? WAIT_SENDING : WAIT_RECEIVING);
    for (;;) {
        bool cancelled = request_is_cancelled(q);
        int64_t left = deadline_ms - clock_ms();
        if (left <= 0) {
            result = -ETIMEDOUT;
            break;
        }
        int n = poll(&p, 1,
                     cancelled        ? 0
                     : left > longest ? longest
                                      : (int)left);
        if (n > 0) {
            result = p.revents;
            break;
        }
        if (n == 0 && cancelled) {
            result = -ECANCELED;
            break;
        }
        if (n < 0 && errno != EINTR) {
            result = -errno;
            break;
        }
    }
    request_wait_end(q);
    return result;
}
