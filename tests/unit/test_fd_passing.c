/*
 * test_fd_passing.c - net/fd_passing: a connection arrives once and unchanged,
 * and
 *                     a sender of too many gets an error (P2, P5)
 */
#include "unit.h"

#include "base/compiler.h"
#include "net/fd_passing.h"

#include <errno.h>
#include <sys/socket.h>

static struct fd_passing m = {-1, -1};

static int
setup(void **state UNUSED)
{
    return fd_passing_open(&m);
}

static int
teardown(void **state UNUSED)
{
    fd_passing_close(&m);
    assert_int_equal(m.send_fd, -1);
    assert_int_equal(m.receive_fd, -1);
    fd_passing_close(&m);
    return 0;
}

static void
test_arrives(void **state UNUSED)
{
    for (int kept = 0; kept <= 1; kept++) {
        int ends[2];
        bool was_kept = kept == 0;
        char bytes[4];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
        assert_int_equal(fd_passing_send(&m, ends[0], kept == 1), 0);
        (void)close(ends[0]);
        /* What is sent meanwhile waits. */
        assert_int_equal(send(ends[1], "abc", 3, MSG_NOSIGNAL), 3);
        int fd = fd_passing_receive(&m, &was_kept);
        assert_true(fd >= 0);
        assert_int_equal(was_kept, kept == 1);
        assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
        assert_int_equal(recv(fd, bytes, sizeof bytes, 0), 3);
        assert_int_equal(fd_passing_receive(&m, &was_kept), -EAGAIN);
        (void)close(fd);
        assert_int_equal(recv(ends[1], bytes, 1, 0), 0); /* it was the last */
        (void)close(ends[1]);
    }
}

static void
test_room(void **state UNUSED)
{
    bool kept;
    int n = 0, fd, e;

    assert_true(fd_passing_has_room(&m));
    while ((e = fd_passing_send(&m, STDIN_FILENO, true)) == 0) {
        n++;
    }
    assert_int_equal(e, -EAGAIN);
    assert_true(n >= 100);
    assert_false(fd_passing_has_room(&m));
    while ((fd = fd_passing_receive(&m, &kept)) >= 0) {
        (void)close(fd);
        n--;
    }
    assert_int_equal(fd, -EAGAIN);
    assert_int_equal(n, 0);
    assert_true(fd_passing_has_room(&m));
}

static void
test_a_byte_alone(void **state UNUSED)
{
    bool kept;

    assert_int_equal(send(m.send_fd, "k", 1, 0), 1);
    assert_true(fd_passing_receive(&m, &kept) < 0);
    assert_int_equal(fd_passing_receive(&m, &kept), -EAGAIN);
    assert_true(fd_passing_send(&m, -1, true) < 0);
}

/* What only wakes is not taken for a descriptor, nor for one that is lost. */
static void
test_wake(void **state UNUSED)
{
    bool kept;

    fd_passing_wake_another(&m);
    assert_int_equal(fd_passing_receive(&m, &kept), -EAGAIN);
    fd_passing_wake_another(&m);
    assert_int_equal(fd_passing_send(&m, STDIN_FILENO, true), 0);
    int fd = fd_passing_receive(&m, &kept);
    assert_true(fd >= 0 && kept);
    (void)close(fd);
}

#define TEST(F) cmocka_unit_test_setup_teardown(F, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_arrives),
        TEST(test_room),
        TEST(test_a_byte_alone),
        TEST(test_wake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
