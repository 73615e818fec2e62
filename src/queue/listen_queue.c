#include "queue/listen_queue.h"

#include "queue/unix_diag.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static int
look_at_tcp(int fd, unsigned *ret_waiting, unsigned *ret_max)
{
    struct tcp_info info;
    socklen_t len = sizeof info;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0) {
        return -errno;
    }
    if (info.tcpi_state != TCP_LISTEN) {
        return -ENOTCONN;
    }
    /* Of a listening socket these two are the queue. */
    *ret_waiting = info.tcpi_unacked;
    *ret_max = info.tcpi_sacked;
    return 0;
}

struct listen_queue
listen_queue_look(const struct listener *listeners, size_t n)
{
    struct listen_queue sum = {.is_known = n > 0};

    assert(n == 0 || listeners != NULL);
    for (size_t i = 0; i < n; i++) {
        const struct listener *l = &listeners[i];
        unsigned waiting = 0, max = 0;
        int e = l->is_tcp ? look_at_tcp(l->fd, &waiting, &max)
                          : unix_diag_queue(l->fd, &waiting, &max);
        sum.is_known = sum.is_known && e == 0;
        sum.waiting += waiting;
        sum.length += max;
    }
    return sum;
}
