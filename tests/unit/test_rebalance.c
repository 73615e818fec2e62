/*
 * test_rebalance.c - worker/rebalance: a connection that waits for a thread is
 *                    passed on where another process serves it earlier, and
 *                    stays where none does
 */
#include "unit.h"

#include "worker/conn_passing.h"
#include "worker/rebalance.h"
#include "worker/worker_conns.h"

#include <sys/eventfd.h>
#include <unistd.h>

/* Stand-ins for the functions of other files that rebalance.c calls. */
static bool is_busy, keeps;
static unsigned passed_on;

unsigned
worker_conns_idle_threads(const struct worker_conns *c UNUSED)
{
    return is_busy ? 0 : 1;
}

bool
conn_passing_send_waiting(struct worker_conns *c UNUSED)
{
    passed_on++;
    return !keeps;
}

enum { OURS, SIBLING, WORKERS };
enum { CONNS = 4, FIRST_FD = 100 };

static struct config config = {
    .processes = WORKERS, .processes_min = WORKERS, .threads = 1};
static struct pool pool;
static struct rebalance rebalance;
static int64_t now;

static struct score_worker *
worker(unsigned i)
{
    return &pool.s.board->workers[i];
}

/* Two workers that serve, ours with a busy thread and some connections, one of
 * which has input. */
static int
setup(void **state UNUSED)
{
    passed_on = 0;
    is_busy = true;
    keeps = false;
    now = 1000;
    rebalance = (struct rebalance){.look_ms = 0};
    pool = (struct pool){
        .s = {.config = &config, .worker = OURS, .master_wake_fd = 0}};
    pool.s.board = scoreboard_new(WORKERS, 1);
    pool.conns.table = conn_table_new(FIRST_FD + CONNS, sizeof(struct conn));
    if (pool.s.board == NULL || pool.conns.table == NULL ||
        poller_open(&pool.conns.poller) < 0) {
        return -1;
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        scoreboard_take(pool.s.board, i, 100 + (pid_t)i, 1);
        atomic_store(&worker(i)->state, SCORE_READY);
    }
    for (int fd = FIRST_FD; fd < FIRST_FD + CONNS; fd++) {
        assert_non_null(conn_open(pool.conns.table, fd));
    }
    poller_wake_all(&pool.conns.poller);
    return 0;
}

static int
teardown(void **state UNUSED)
{
    poller_close(&pool.conns.poller);
    conn_table_free(&pool.conns.table);
    scoreboard_free(&pool.s.board);
    return 0;
}

/* So many requests end here and elsewhere, and it is time for the next look. */
static void
look_after(uint64_t here, uint64_t elsewhere)
{
    atomic_fetch_add(&worker(OURS)->requests, here);
    atomic_fetch_add(&worker(SIBLING)->requests, elsewhere);
    now += rebalance_pause(&rebalance, now, 1000);
    rebalance_run(&rebalance, &pool, now);
}

static void
occupy_sibling(void)
{
    struct score_thread *t = scoreboard_thread(pool.s.board, SIBLING, 0);

    atomic_store(&t->since_ms, 1);
}

static void
test_what_waits_twice_is_passed_on(void **state UNUSED)
{
    look_after(0, 0);
    assert_int_equal(passed_on, 0);
    look_after(0, 0);
    assert_int_equal(passed_on, 1);
    look_after(0, 0);
    assert_int_equal(passed_on, 2);
}

/* Requests end here as fast as connections bring them: nobody has waited
 * long. */
static void
test_each_has_had_its_turn(void **state UNUSED)
{
    look_after(0, 0);
    for (int i = 0; i < 20; i++) {
        look_after(CONNS, 0);
        assert_int_equal(passed_on, 0);
    }
    look_after(CONNS - 1, 0); /* one may have waited all the time */
    assert_int_equal(passed_on, 1);
}

static void
test_nobody_has_a_thread_for_it(void **state UNUSED)
{
    occupy_sibling();
    for (int i = 0; i < 20; i++) {
        look_after(0, 0);
    }
    assert_int_equal(passed_on, 0);
}

/* No request ends here, but now and then one ends there: so a thread becomes
 * idle there, which serves it earlier. */
static void
test_busy_sibling_that_gets_on(void **state UNUSED)
{
    occupy_sibling();
    look_after(0, 1);
    int64_t begun = now;
    while (passed_on == 0 && now < begun + 100) {
        look_after(0, 1);
    }
    assert_int_equal(passed_on, 1);
    assert_true(now >= begun + 20);
    look_after(1, 1); /* it gets on here, too */
    assert_int_equal(passed_on, 1);
}

static void
test_a_thread_is_free(void **state UNUSED)
{
    is_busy = false;
    for (int i = 0; i < 5; i++) {
        look_after(0, 0);
    }
    assert_int_equal(passed_on, 0);
}

static void
test_sibling_that_can_take_nothing(void **state UNUSED)
{
    static const enum score_state states[] = {SCORE_FREE, SCORE_STARTING,
                                              SCORE_BROKEN, SCORE_DRAINING};

    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        atomic_store(&worker(SIBLING)->state, states[i]);
        look_after(0, 0);
        look_after(0, 0);
        assert_int_equal(passed_on, 0);
    }
    atomic_store(&worker(SIBLING)->state, SCORE_RECYCLE);
    atomic_store(&worker(SIBLING)->full, true);
    look_after(0, 0);
    assert_int_equal(passed_on, 0);
    atomic_store(&worker(SIBLING)->full, false);
    look_after(0, 0);
    assert_int_equal(passed_on, 1);
}

static void
test_process_that_leaves(void **state UNUSED)
{
    look_after(0, 0);
    atomic_store(&pool.stop, FCGI_LEAVE);
    look_after(0, 0);
    assert_int_equal(passed_on, 0);
    assert_int_equal(rebalance_fd(&rebalance, &pool), -1);
}

/* What can never be passed on is not tried all the time. */
static void
test_in_vain(void **state UNUSED)
{
    keeps = true;
    look_after(0, 0);
    int64_t begun = now;
    while (now < begun + 1000) {
        look_after(0, 0);
    }
    assert_true(passed_on >= 5 && passed_on <= 20);
}

/* --processes MIN-MAX: the master hears once that requests wait, and sees until
 * when. Where there may be no more workers, it hears nothing. */
static void
test_master_hears_that_requests_wait(void **state UNUSED)
{
    atomic_llong *starved_ms = &worker(OURS)->starved_ms;
    uint64_t count;

    pool.s.master_wake_fd = eventfd(0, EFD_NONBLOCK);
    assert_true(pool.s.master_wake_fd >= 0);
    atomic_store(&pool.s.board->may_grow, true);
    occupy_sibling();
    look_after(0, 0);
    assert_int_equal(atomic_load(starved_ms), 0); /* a moment is no wait */
    look_after(0, 0);
    look_after(0, 0);
    assert_int_equal(atomic_load(starved_ms), now);
    assert_int_equal(read(pool.s.master_wake_fd, &count, sizeof count),
                     sizeof count);
    assert_int_equal(count, 1);
    is_busy = false;
    look_after(0, 0);
    assert_int_equal(atomic_load(starved_ms), 0);
    is_busy = true;
    atomic_store(&pool.s.board->may_grow, false);
    look_after(0, 0);
    look_after(0, 0);
    assert_int_equal(atomic_load(starved_ms), now);
    assert_true(read(pool.s.master_wake_fd, &count, sizeof count) < 0);
    (void)close(pool.s.master_wake_fd);
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_waits_twice_is_passed_on),
        TEST(test_each_has_had_its_turn),
        TEST(test_nobody_has_a_thread_for_it),
        TEST(test_busy_sibling_that_gets_on),
        TEST(test_a_thread_is_free),
        TEST(test_sibling_that_can_take_nothing),
        TEST(test_process_that_leaves),
        TEST(test_in_vain),
        TEST(test_master_hears_that_requests_wait),
    };
    return cmocka_run_group_tests_name("rebalance", tests, NULL, NULL);
}
