/*
 * test_poller.c - net/poller: an event of a listener stays after it was taken,
 *                 one of a connection does not (F13)
 */
#include "unit.h"

#include "base/compiler.h"
#include "net/conn.h"
#include "net/poller.h"
#include "os/fd.h"

#include <sys/socket.h>

static struct poller p = {-1, -1};
static struct poller_event got[POLLER_TAKE_MAX];
static int pair[2];

static int
setup(void **state UNUSED)
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0
               ? -1
               : poller_open(&p);
}

static int
teardown(void **state UNUSED)
{
    poller_close(&p);
    fd_close(&pair[0]);
    fd_close(&pair[1]);
    return 0;
}

static void
say(void)
{
    assert_int_equal(send(pair[1], "x", 1, MSG_NOSIGNAL), 1);
}

static void
test_connection(void **state UNUSED)
{
    const uint32_t generation = CONN_GENERATION - 1;

    assert_int_equal(poller_arm(&p, pair[0], generation, POLLER_NEW), 0);
    assert_false(poller_has_events(&p));
    assert_int_equal(poller_take(&p, got, POLLER_TAKE_MAX), 0);
    say();
    /* Looking takes nothing. */
    assert_true(poller_has_events(&p));
    assert_true(poller_has_events(&p));
    assert_int_equal(poller_take(&p, got, POLLER_TAKE_MAX), 1);
    assert_int_equal(got[0].kind, POLLER_CONN);
    assert_int_equal(got[0].fd, pair[0]);
    assert_int_equal(got[0].generation, generation);
    assert_false(poller_has_events(&p));
    assert_int_equal(poller_take(&p, got, POLLER_TAKE_MAX), 0);
    /* Until it is armed again; it is still readable. */
    assert_int_equal(poller_arm(&p, pair[0], generation, 0), 0);
    assert_int_equal(poller_take(&p, got, POLLER_TAKE_MAX), 1);
}

static void
test_level_triggered(void **state UNUSED)
{
    assert_int_equal(poller_add_listener(&p, pair[0]), 0);
    assert_false(poller_has_events(&p));
    say();
    poller_wake_all(&p);
    for (int i = 0; i < 3; i++) {
        assert_true(poller_has_events(&p));
        assert_int_equal(poller_take(&p, got, POLLER_TAKE_MAX), 2);
        assert_true(got[0].kind == POLLER_WAKE || got[1].kind == POLLER_WAKE);
        assert_true(got[0].kind == POLLER_LISTENER ||
                    got[1].kind == POLLER_LISTENER);
    }
    /* Never more than there is room for. */
    assert_int_equal(poller_take(&p, got, 1), 1);
}

#define TEST(F) cmocka_unit_test_setup_teardown(F, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_connection),
        TEST(test_level_triggered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
