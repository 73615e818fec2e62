#include "queue/queue_time.h"

#include "base/clock.h"
#include "os/log.h"
#include "queue/unix_diag.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum {
    LOOKS = 4,        /* in one timeout, or as often as the rounds come */
    LOOK_MIN_MS = 20, /* between two looks */
    JIFFY_MS = 10     /* the kernel counts time in these, or in shorter ones */
};

/* A client that waits to be accepted. */
struct client {
    uint32_t inode;
    uint32_t bytes; /* that it has sent, as the kernel counts them */
    int64_t since_ms;
};

struct clients {
    struct client *v; /* sorted by inode */
    size_t n, cap;
    int64_t oldest_ms; /* the least since_ms */
};

struct queue_time {
    int64_t limit_ms; /* set once */
    int64_t next_ms;  /* of the next look: the control thread */
    bool lacks_memory;
    struct clients next; /* a list that is being made: the control thread */
    pthread_mutex_t lock;
    struct clients now; /* under the lock */
};

struct queue_time *
queue_time_new(int64_t limit_ms)
{
    struct queue_time *q = calloc(1, sizeof *q);

    assert(limit_ms > 0);
    if (q != NULL) {
        q->limit_ms = limit_ms;
        (void)pthread_mutex_init(&q->lock, NULL);
    }
    return q;
}

void
queue_time_check(const struct listener *listeners, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned waiting, max;
        int e = listeners[i].is_tcp
                    ? 0
                    : unix_diag_queue(listeners[i].fd, &waiting, &max);
        if (e < 0) {
            log_warning(
                "--queue-timeout: %s: the kernel does not say who waits "
                "here (%s): only requests on connections that were "
                "accepted before are limited; systemd: "
                "RestrictAddressFamilies= must allow AF_NETLINK",
                listeners[i].name, strerror(-e));
        }
    }
}

/* -- clients that wait to be accepted -------------------------------------- */

static int
by_inode(const void *a, const void *b)
{
    const struct client *x = a, *y = b;

    return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static struct client *
find(const struct clients *in, uint32_t inode)
{
    const struct client key = {.inode = inode};

    return in->n == 0 ? NULL
                      : bsearch(&key, in->v, in->n, sizeof key, by_inode);
}

static void
add_client(void *arg, uint32_t inode)
{
    struct queue_time *q = arg;
    struct clients *to = &q->next;

    if (inode == 0 || q->lacks_memory) {
        return;
    }
    if (to->n == to->cap) {
        size_t cap = to->cap == 0 ? 64 : 2 * to->cap;
        struct client *v = reallocarray(to->v, cap, sizeof *v);
        q->lacks_memory = v == NULL;
        if (v == NULL) {
            return; /* those that are left out get more time */
        }
        to->v = v;
        to->cap = cap;
    }
    to->v[to->n++] = (struct client){.inode = inode};
}

static void
note_bytes(void *arg, uint32_t inode, uint32_t bytes)
{
    const struct queue_time *q = arg;
    struct client *c = find(&q->next, inode);

    if (c != NULL) {
        c->bytes = bytes;
    }
}

/* Who waited at the last look as well and has sent nothing since then has waited
 * since then; who has sent nothing at all does not wait for a thread. The
 * present time is read after the kernel has answered: they had come by then. */
static void
date_clients(struct queue_time *q)
{
    struct clients *c = &q->next;
    int64_t now = clock_ms();
    size_t n = 0;

    c->oldest_ms = now;
    for (size_t i = 0; i < c->n; i++) {
        struct client one = c->v[i];
        const struct client *old = find(&q->now, one.inode);
        if (one.bytes == 0) {
            continue;
        }
        one.since_ms =
            old != NULL && old->bytes == one.bytes ? old->since_ms : now;
        if (one.since_ms < c->oldest_ms) {
            c->oldest_ms = one.since_ms;
        }
        c->v[n++] = one;
    }
    c->n = n;
}

static void
look_at_listeners(struct queue_time *q, const struct listener *listeners,
                  size_t n)
{
    q->next.n = 0;
    q->lacks_memory = false;
    for (size_t i = 0; i < n; i++) {
        if (!listeners[i].is_tcp &&
            unix_diag_waiting(listeners[i].fd, add_client, q) < 0) {
            continue; /* not known; queue_time_check() has said so */
        }
    }
    if (q->next.n > 0) {
        qsort(q->next.v, q->next.n, sizeof *q->next.v, by_inode);
        if (unix_diag_each_unread(note_bytes, q) < 0) {
            q->next.n = 0;
        }
    }
    date_clients(q); /* only this thread changes q->now */
    (void)pthread_mutex_lock(&q->lock);
    struct clients old = q->now;
    q->now = q->next;
    (void)pthread_mutex_unlock(&q->lock);
    q->next = old;
}

/* -- parked connections ---------------------------------------------------- */

/* What came since the last look has not waited since then. */
static bool
note_input(void *arg UNUSED, struct conn *c, int fd)
{
    int bytes = 0;

    if (c->has_input || ioctl(fd, FIONREAD, &bytes) < 0 || bytes <= 0) {
        c->seen_ms = 0;
    }
    else if (c->seen_ms == 0 || c->seen_bytes != bytes) {
        c->seen_ms = clock_ms(); /* they came before that */
        c->seen_bytes = bytes;
    }
    return false; /* it stays */
}

/* -- all of it ------------------------------------------------------------- */

void
queue_time_look(struct queue_time *q, const struct poller *poller,
                const struct listener *listeners, size_t n,
                struct conn_table *table)
{
    int64_t now = clock_ms(), pause = q->limit_ms / LOOKS / 2;

    if (now < q->next_ms) {
        return;
    }
    q->next_ms = now + (pause < LOOK_MIN_MS ? LOOK_MIN_MS : pause);
    if (!poller_has_events(poller)) {
        if (q->now.n > 0) {
            (void)pthread_mutex_lock(&q->lock);
            q->now.n = 0;
            (void)pthread_mutex_unlock(&q->lock);
        }
        return;
    }
    look_at_listeners(q, listeners, n);
    conn_pass_parked(table, note_input, NULL);
}

int64_t
queue_time_accepted(struct queue_time *q, int fd)
{
    int64_t now = clock_ms();
    struct client found = {.since_ms = 0};
    uint32_t inode, bytes;

    (void)pthread_mutex_lock(&q->lock);
    bool may_be = q->now.n > 0 && now - q->now.oldest_ms > q->limit_ms;
    (void)pthread_mutex_unlock(&q->lock);
    if (!may_be || unix_diag_peer(fd, &inode) < 0 || inode == 0) {
        return 0;
    }
    (void)pthread_mutex_lock(&q->lock);
    const struct client *c = find(&q->now, inode);
    if (c != NULL) {
        found = *c;
    }
    (void)pthread_mutex_unlock(&q->lock);
    return found.since_ms != 0 && unix_diag_unread(inode, &bytes) == 0 &&
                   bytes == found.bytes
               ? found.since_ms
               : 0;
}

int64_t
queue_time_taken(const struct conn *c, int fd)
{
    int bytes = 0;

    return c->seen_ms != 0 && ioctl(fd, FIONREAD, &bytes) == 0 &&
                   bytes == c->seen_bytes
               ? c->seen_ms
               : 0;
}

int64_t
queue_time_waited(int fd, int64_t since_ms, int64_t served_ms)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    int64_t waited = 0, most = clock_ms() - served_ms;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0) {
        /* The clock may have ticked just after the byte had come. */
        waited = (int64_t)info.tcpi_last_data_recv - JIFFY_MS;
        waited = waited < most ? waited : most;
    }
    else if (since_ms != 0) {
        waited = clock_ms() - since_ms;
    }
    return waited > 0 ? waited : 0;
}
