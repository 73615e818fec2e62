/*
 * test_connection.c - client/connection: no backend can stretch the time it was
 * given
 */
#include "unit.h"

#include "base/clock.h"
#include "client/connection.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* A peer of one end of a pair, in whose other end a byte was written. */
static int
make(struct connection *p, int64_t timeout_ms, bool renews)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX,
                                SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                                pair),
                     0);
    connection_init(p, "--test", "a pair", timeout_ms, renews);
    p->fd = pair[0];
    assert_int_equal(write(pair[1], "x", 1), 1);
    return pair[1];
}

/* Bytes that never stop coming are no reason to go on waiting. */
static void
test_flood(void **state UNUSED)
{
    struct connection p;
    int other = make(&p, 60000, false);

    assert_int_equal(connection_wait(&p, POLLIN), POLLIN);
    p.deadline_ms = clock_ms() - 1;
    assert_int_equal(connection_wait(&p, POLLIN), -ETIMEDOUT);
    connection_renew(&p);
    assert_int_equal(connection_wait(&p, POLLIN), -ETIMEDOUT);
    (void)close(other);
    connection_close(&p);
}

/* The time that the client itself needs for the bytes does not count. */
static void
test_renewal(void **state UNUSED)
{
    struct connection p;
    int other = make(&p, 60000, true);
    char byte;

    p.deadline_ms = clock_ms() - 1;
    assert_int_equal(connection_receive(&p, &byte, 1), 1);
    assert_int_equal(connection_wait(&p, POLLIN), -ETIMEDOUT);
    connection_renew(&p);
    assert_int_equal(connection_wait(&p, POLLOUT), POLLOUT);
    p.deadline_ms = clock_ms() - 1;
    assert_int_equal(connection_send(&p, "x", 1), 1);
    assert_int_equal(connection_wait(&p, POLLOUT), POLLOUT);
    (void)close(other);
    connection_close(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_renewal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
