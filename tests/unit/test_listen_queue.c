/*
 * test_listen_queue.c - queue/listen_queue, queue/unix_diag: who waits to be
 *                       accepted, at sockets of both kinds
 */
#include "unit.h"

#include "base/clock.h"
#include "queue/listen_queue.h"
#include "queue/unix_diag.h"
#include "status/scoreboard.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 9, LONG = 3500 };

union any {
    struct sockaddr any;
    struct sockaddr_un un;
    struct sockaddr_in in;
};

/* A place that listens, and what connects to it. */
struct place {
    struct listener listener;
    union any address;
    socklen_t len;
    int clients[LONG];
    size_t n;
};

static void
open_place(struct place *p, int family, int backlog)
{
    memset(p, 0, sizeof *p);
    p->listener.is_tcp = family == AF_INET;
    p->listener.fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(p->listener.fd >= 0);
    p->address.any.sa_family = (sa_family_t)family;
    /* A unix socket gets an abstract name, TCP a free port. */
    p->len = family == AF_UNIX ? sizeof(sa_family_t) : sizeof p->address.in;
    if (family == AF_INET) {
        p->address.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    assert_int_equal(bind(p->listener.fd, &p->address.any, p->len), 0);
    assert_int_equal(listen(p->listener.fd, backlog), 0);
    p->len = sizeof p->address;
    assert_int_equal(getsockname(p->listener.fd, &p->address.any, &p->len), 0);
}

static bool
add_client(struct place *p)
{
    int fd = socket(p->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return false;
    }
    assert_int_equal(connect(fd, &p->address.any, p->len), 0);
    p->clients[p->n++] = fd;
    return true;
}

static void
close_place(struct place *p)
{
    for (size_t i = 0; i < p->n; i++) {
        (void)close(p->clients[i]);
    }
    if (p->listener.fd >= 0) {
        (void)close(p->listener.fd);
    }
}

static uint32_t
inode_of(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return (uint32_t)st.st_ino;
}

struct inodes {
    uint32_t v[LONG + 1];
    size_t n;
};

static void
add_inode(void *arg, uint32_t inode)
{
    struct inodes *to = arg;

    assert_true(to->n < ARRAY_SIZE(to->v));
    to->v[to->n++] = inode;
}

static struct place one, two;
static struct inodes seen;

/* P8: of both kinds, as it grows and as it becomes shorter. */
static void
test_lengths(void **state UNUSED)
{
    static const int families[] = {AF_UNIX, AF_INET};

    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        open_place(&one, families[i], BACKLOG);
        for (unsigned n = 0; n < 4; n++) {
            struct listen_queue q = listen_queue_look(&one.listener, 1);
            assert_true(q.is_known);
            assert_int_equal(q.waiting, n);
            assert_int_equal(q.length, BACKLOG);
            assert_true(add_client(&one));
        }
        int fd = accept(one.listener.fd, NULL, NULL);
        assert_true(fd >= 0);
        assert_int_equal(listen_queue_look(&one.listener, 1).waiting, 3);
        (void)close(fd);
        close_place(&one);
    }
}

static void
test_sum_of_several_sockets(void **state UNUSED)
{
    struct listener both[2];

    open_place(&one, AF_UNIX, BACKLOG);
    open_place(&two, AF_INET, BACKLOG + 1);
    assert_true(add_client(&one) && add_client(&two) && add_client(&two));
    both[0] = one.listener;
    both[1] = two.listener;
    struct listen_queue q = listen_queue_look(both, 2);
    assert_true(q.is_known);
    assert_int_equal(q.waiting, 3);
    assert_int_equal(q.length, BACKLOG + BACKLOG + 1);
    close_place(&one);
    close_place(&two);
}

/* What does not listen has no queue: a socket that is closed, one of TCP after
 * shutdown(), and a client's, of which the kernel returns other numbers in the
 * same place. (A unix socket has its queue until it is closed.) */
static void
test_what_does_not_listen(void **state UNUSED)
{
    static const int families[] = {AF_UNIX, AF_INET};
    unsigned waiting, max;

    assert_false(listen_queue_look(NULL, 0).is_known);
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        open_place(&one, families[i], BACKLOG);
        assert_int_equal(shutdown(one.listener.fd, SHUT_RDWR), 0);
        assert_int_equal(listen_queue_look(&one.listener, 1).is_known,
                         families[i] == AF_UNIX);
        (void)close(one.listener.fd);
        one.listener.fd = -1;
        assert_false(listen_queue_look(&one.listener, 1).is_known);
    }
    open_place(&one, AF_UNIX, BACKLOG);
    assert_true(add_client(&one));
    assert_int_equal(unix_diag_queue(one.clients[0], &waiting, &max),
                     -ENOTCONN);
    close_place(&one);
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(unix_diag_queue(file, &waiting, &max), -ENOENT);
    (void)close(file);
}

/* The clients that wait, in their order, and each one by its own number when it
 * has been accepted. */
static void
check_clients(void)
{
    seen.n = 0;
    assert_int_equal(unix_diag_waiting(one.listener.fd, add_inode, &seen), 0);
    assert_int_equal(seen.n, one.n);
    for (size_t i = 0; i < one.n; i++) {
        assert_int_equal(seen.v[i], inode_of(one.clients[i]));
    }
    int fd = accept(one.listener.fd, NULL, NULL);
    uint32_t peer;
    assert_true(fd >= 0);
    assert_int_equal(unix_diag_peer(fd, &peer), 0);
    assert_int_equal(peer, inode_of(one.clients[0]));
    (void)close(one.clients[0]);
    one.clients[0] = -1;
    assert_int_equal(unix_diag_peer(fd, &peer), 0);
    assert_int_equal(peer, 0);
    (void)close(fd);
}

static void
test_who_waits(void **state UNUSED)
{
    open_place(&one, AF_UNIX, BACKLOG);
    assert_int_equal(unix_diag_waiting(one.listener.fd, add_inode, &seen), 0);
    assert_int_equal(seen.n, 0);
    for (int i = 0; i < 3; i++) {
        assert_true(add_client(&one));
    }
    check_clients();
    close_place(&one);
}

static size_t senders;
static uint32_t sent_bytes;

static void
add_sender(void *arg, uint32_t inode, uint32_t bytes)
{
    const uint32_t *wanted = arg;

    if (inode == *wanted) {
        senders++;
        sent_bytes = bytes;
    }
}

/* P27: what a client that still waits has sent; it grows with each piece. */
static void
test_what_has_been_sent(void **state UNUSED)
{
    uint32_t inode, bytes, before = 0;

    open_place(&one, AF_UNIX, BACKLOG);
    assert_true(add_client(&one) && add_client(&one));
    inode = inode_of(one.clients[1]);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(unix_diag_unread(inode, &bytes), 0);
        assert_true(i == 0 ? bytes == 0 : bytes > before);
        before = bytes;
        senders = 0;
        assert_int_equal(unix_diag_each_unread(add_sender, &inode), 0);
        assert_int_equal(senders, 1);
        assert_int_equal(sent_bytes, bytes);
        assert_int_equal(send(one.clients[1], "x", 1, MSG_NOSIGNAL), 1);
    }
    inode = inode_of(one.clients[0]);
    assert_int_equal(unix_diag_unread(inode, &bytes), 0);
    assert_int_equal(bytes, 0);
    (void)close(one.clients[0]);
    one.clients[0] = -1;
    assert_int_equal(unix_diag_unread(inode, &bytes), -ENOENT);
    close_place(&one);
}

/* More than the kernel's answer for one socket has room for. */
static void
test_a_long_queue(void **state UNUSED)
{
    struct rlimit old, all;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    all = old;
    all.rlim_cur = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
    open_place(&one, AF_UNIX, LONG);
    unsigned limit = listen_queue_look(&one.listener, 1).length;
    /* A queue takes one more than its length says. */
    while (one.n < LONG && one.n <= limit && add_client(&one)) {
    }
    if (one.n < LONG) {
        print_message("only %zu connections: somaxconn or ulimit -n\n", one.n);
    }
    assert_int_equal(listen_queue_look(&one.listener, 1).waiting, one.n);
    check_clients();
    close_place(&one);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

/* P8: what is seen once a second, while no thread is idle. */
static void
test_samples(void **state UNUSED)
{
    struct scoreboard *b = scoreboard_new(1, 1);
    struct request q = {.id = "x", .line = "GET /"};
    struct score_thread *t;

    assert_non_null(b);
    t = scoreboard_thread(b, 0, 0);
    open_place(&one, AF_UNIX, BACKLOG);
    assert_true(add_client(&one) && add_client(&one));
    scoreboard_sample(b, &one.listener, 1); /* no worker */
    assert_int_equal(atomic_load(&b->max_listen_queue), 0);
    scoreboard_take(b, 0, getpid(), 1);
    atomic_store(&b->workers[0].state, SCORE_READY);
    scoreboard_sample(b, &one.listener, 1); /* the thread is idle */
    assert_int_equal(atomic_load(&b->max_listen_queue), 0);
    (void)score_begin(b, t, &q);
    scoreboard_sample(b, &one.listener, 1);
    assert_int_equal(atomic_load(&b->max_listen_queue), 2);
    int fd = accept(one.listener.fd, NULL, NULL);
    scoreboard_sample(b, &one.listener, 1); /* fewer: the most stays */
    assert_int_equal(atomic_load(&b->max_listen_queue), 2);
    score_end(b, 0, t, &q, clock_coarse_ms());
    assert_true(add_client(&one) && add_client(&one));
    atomic_store(&b->workers[0].state, SCORE_STARTING);
    scoreboard_sample(b, &one.listener, 1); /* no thread serves yet */
    assert_int_equal(atomic_load(&b->max_listen_queue), 3);
    (void)close(fd);
    close_place(&one);
    scoreboard_free(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_sum_of_several_sockets),
        cmocka_unit_test(test_what_does_not_listen),
        cmocka_unit_test(test_who_waits),
        cmocka_unit_test(test_what_has_been_sent),
        cmocka_unit_test(test_a_long_queue),
        cmocka_unit_test(test_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
