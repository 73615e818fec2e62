/*
 * test_notify.c - status/notify: what is told when, with a clock of the test's own
 */
#include "unit.h"

#include "status/notify.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int server = -1;
static struct scoreboard *board;
static char got[1024];

static int
setup(void **state UNUSED)
{
    union {
        struct sockaddr any;
        struct sockaddr_un un;
    } a = {.un.sun_family = AF_UNIX};
    char address[64];

    int n = snprintf(address, sizeof address, "@wsgi-cgi-test-notify-%ld",
                     (long)getpid());
    memcpy(a.un.sun_path + 1, address + 1, (size_t)n - 1);
    server = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_return_code(server, errno);
    assert_return_code(
        bind(server, &a.any,
             (socklen_t)offsetof(struct sockaddr_un, sun_path) + (socklen_t)n),
        errno);
    assert_int_equal(setenv("NOTIFY_SOCKET", address, 1), 0);
    assert_int_equal(setenv("WATCHDOG_USEC", "4000000", 1), 0);
    board = scoreboard_new(1, 2);
    assert_non_null(board);
    scoreboard_take(board, 0, getpid(), 1);
    notify_open(-1);
    assert_true(notify_is_on());
    return 0;
}

static int
teardown(void **state UNUSED)
{
    notify_forget();
    scoreboard_free(&board);
    return close(server);
}

/* The next datagram, "" where there is none. */
static const char *
next(void)
{
    ssize_t n = recv(server, got, sizeof got - 1, 0);
    got[n < 0 ? 0 : n] = '\0';
    return got;
}

static void
tell(enum notify_state state, unsigned reloads, int64_t now)
{
    notify_tell(state, reloads, board, now);
}

static void
test_states(void **state UNUSED)
{
    tell(NOTIFY_STARTING, 0, 1000);
    assert_string_equal(next(),
                        "STATUS=starting; threads busy: 0 of 0; requests: 0");
    atomic_store(&board->workers[0].state, SCORE_READY);
    tell(NOTIFY_READY, 0, 1001);
    assert_string_equal(
        next(), "READY=1\nSTATUS=serving; threads busy: 0 of 2; requests: 0");
    tell(NOTIFY_READY, 0, 1002);
    assert_string_equal(next(), "");
    tell(NOTIFY_STOPPING, 0, 1003);
    assert_string_equal(next(), "STOPPING=1\nSTATUS=finishing requests; "
                                "threads busy: 0 of 2; requests: 0");
    assert_string_equal(next(), "");
}

/* Every ten seconds, and only what is new. */
static void
test_counts(void **state UNUSED)
{
    atomic_store(&board->workers[0].state, SCORE_READY);
    tell(NOTIFY_READY, 0, 0);
    assert_non_null(strstr(next(), "READY=1"));
    atomic_store(&board->workers[0].requests, 7);
    tell(NOTIFY_READY, 0, 9999);
    assert_string_equal(next(), "");
    tell(NOTIFY_READY, 0, 10000);
    assert_string_equal(next(),
                        "STATUS=serving; threads busy: 0 of 2; requests: 7");
    for (int64_t now = 10001; now < 60000; now += 500) {
        tell(NOTIFY_READY, 0, now);
        assert_string_equal(next(), "");
    }
    atomic_store(&board->workers[0].state, SCORE_BROKEN);
    tell(NOTIFY_READY, 0, 70000);
    assert_non_null(strstr(next(), "does not load"));
}

/* A reload that is over when we look is told all the same. */
static void
test_reloads(void **state UNUSED)
{
    tell(NOTIFY_STARTING, 1, 0);
    assert_null(strstr(next(), "RELOADING"));
    tell(NOTIFY_READY, 1, 1);
    assert_non_null(strstr(next(), "READY=1"));
    tell(NOTIFY_READY, 2, 2);
    assert_non_null(strstr(next(), "RELOADING=1\nMONOTONIC_USEC="));
    assert_non_null(strstr(next(), "READY=1"));
    tell(NOTIFY_RELOADING, 3, 3);
    assert_non_null(strstr(next(), "RELOADING=1\nMONOTONIC_USEC="));
    tell(NOTIFY_RELOADING, 4, 4);
    assert_non_null(strstr(next(), "RELOADING=1\nMONOTONIC_USEC="));
    tell(NOTIFY_RELOADING, 4, 5);
    assert_string_equal(next(), "");
    tell(NOTIFY_READY, 4, 6);
    assert_non_null(strstr(next(), "READY=1"));
    assert_string_equal(next(), "");
}

/* systemd is busy and the queue full: nothing waits, and nothing is lost. */
static void
test_full_queue(void **state UNUSED)
{
    int n = 0;
    for (int64_t now = 0; notify_watchdog_is_due(now); now += 2000) {
        notify_watchdog(now);
        if (notify_watchdog_is_due(now)) {
            break; /* not sent */
        }
        assert_true(++n < 10000);
    }
    assert_true(n > 0);
    tell(NOTIFY_READY, 0, 1);
    while (strcmp(next(), "WATCHDOG=1") == 0) {
        n--;
    }
    assert_string_equal(got, "");
    assert_int_equal(n, 0);
    tell(NOTIFY_READY, 0, 2);
    assert_non_null(strstr(next(), "READY=1"));
}

static void
test_watchdog(void **state UNUSED)
{
    assert_true(notify_watchdog_is_due(5000));
    notify_watchdog(5000);
    assert_string_equal(next(), "WATCHDOG=1");
    assert_false(notify_watchdog_is_due(6999));
    assert_true(notify_watchdog_is_due(7000));
    assert_int_equal(notify_wait_ms(5000, 500), 500);
    assert_int_equal(notify_wait_ms(6900, 500), 100);
    assert_int_equal(notify_wait_ms(6999, 500), 1);
    /* Missed: soon again, but not at once. */
    assert_int_equal(notify_wait_ms(7001, 500), 100);
    assert_int_equal(notify_wait_ms(7001, 20), 20);
    notify_forget();
    assert_false(notify_watchdog_is_due(9000));
    assert_int_equal(notify_wait_ms(9000, 500), 500);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_states, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reloads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watchdog, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
