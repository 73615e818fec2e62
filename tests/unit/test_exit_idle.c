/*
 * test_exit_idle.c - status/exit_idle: what counts as something that has come (P28)
 */
#include "unit.h"

#include "status/exit_idle.h"

enum { LIMIT = 1000 };

static struct scoreboard *board;
static struct exit_idle idle;

static int
setup(void **state UNUSED)
{
    idle = (struct exit_idle){.since_ms = 0};
    board = scoreboard_new(2, 2);
    if (board == NULL) {
        return -1;
    }
    scoreboard_take(board, 0, 100, 1);
    atomic_store(&board->workers[0].state, SCORE_READY);
    return 0;
}

static int
teardown(void **state UNUSED)
{
    scoreboard_free(&board);
    return 0;
}

static bool
is_due(int64_t now)
{
    return exit_idle_is_due(&idle, board, LIMIT, now);
}

static void
test_time_counts_from_the_first_look(void **state UNUSED)
{
    assert_int_equal(exit_idle_pause(&idle, LIMIT, 5000, 70), 70);
    assert_false(is_due(5000));
    assert_false(is_due(5999));
    assert_int_equal(exit_idle_pause(&idle, LIMIT, 5999, 70), 1);
    assert_int_equal(exit_idle_pause(&idle, LIMIT, 5900, 70), 70);
    assert_true(is_due(6000));
    assert_int_equal(exit_idle_pause(&idle, LIMIT, 6100, 70), 0);
}

static void
test_no_limit(void **state UNUSED)
{
    assert_false(exit_idle_is_due(&idle, board, 0, 1));
    assert_false(exit_idle_is_due(&idle, board, 0, 1000000));
    assert_int_equal(exit_idle_pause(&idle, 0, 1000000, 70), 70);
}

static void
test_what_came_between_two_looks(void **state UNUSED)
{
    assert_false(is_due(5000));
    atomic_fetch_add(&board->workers[0].requests, 1);
    assert_false(is_due(6500));
    atomic_fetch_add(&board->workers[0].accepted, 1);
    assert_false(is_due(8000));
    scoreboard_release(board, 0); /* its worker has ended: nothing new */
    assert_true(is_due(9000));
}

static void
test_what_goes_on(void **state UNUSED)
{
    struct score_thread *t = scoreboard_thread(board, 0, 1);

    atomic_store(&board->max_active, 1); /* no more are said to be active */
    atomic_store(&t->since_ms, 1);
    assert_false(is_due(5000));
    assert_false(is_due(9000));
    atomic_store(&t->since_ms, 0);
    atomic_store(&t->after_ms, 1);
    assert_false(is_due(15000));
    atomic_store(&t->after_ms, 0);
    assert_false(is_due(15999));
    assert_true(is_due(16000));
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_time_counts_from_the_first_look),
        TEST(test_no_limit),
        TEST(test_what_came_between_two_looks),
        TEST(test_what_goes_on),
    };
    return cmocka_run_group_tests_name("exit_idle", tests, NULL, NULL);
}
