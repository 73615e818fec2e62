/*
 * test_scoreboard.c - status/scoreboard: sums that outlive a worker, and texts that
 *                     are read while they are written
 */
#include "unit.h"

#include "base/clock.h"
#include "status/scoreboard.h"

#include <pthread.h>

static struct scoreboard *board;

static int
setup(void **state UNUSED)
{
    board = scoreboard_new(2, 1);
    return board == NULL ? -1 : 0;
}

static int
teardown(void **state UNUSED)
{
    scoreboard_free(&board);
    assert_null(board);
    return 0;
}

/* -- sums ------------------------------------------------------------------------ */

/* Another number for each, so that none is taken for another. */
static void
count(unsigned worker, unsigned times)
{
    struct score_worker *w = &board->workers[worker];

    atomic_fetch_add(&w->requests, 1 * times);
    atomic_fetch_add(&w->accepted, 10 * times);
    atomic_fetch_add(&w->failed, 100 * times);
    atomic_fetch_add(&w->slow, 1000 * times);
    atomic_fetch_add(&w->timeouts, 10000 * times);
    atomic_fetch_add(&w->client_aborts, 100000 * times);
    for (unsigned i = 0; i < 7 * times; i++) {
        score_queue_timeout(board, worker);
    }
}

static void
assert_totals(unsigned times)
{
    struct score_totals t;

    scoreboard_totals(board, &t);
    assert_int_equal(t.requests, 1 * times);
    assert_int_equal(t.accepted, 10 * times);
    assert_int_equal(t.failed, 100 * times);
    assert_int_equal(t.slow, 1000 * times);
    assert_int_equal(t.timeouts, 10000 * times);
    assert_int_equal(t.client_aborts, 100000 * times);
    assert_int_equal(t.queue_timeouts, 7 * times);
}

static void
test_sums_outlive_a_worker(void **state UNUSED)
{
    scoreboard_take(board, 0, 100, 1);
    scoreboard_take(board, 1, 101, 1);
    count(0, 1);
    count(1, 2);
    assert_totals(3);
    scoreboard_release(board, 0);
    assert_totals(3);
    scoreboard_take(board, 0, 102, 2);
    assert_totals(3); /* the next one in the slot begins at zero */
    count(0, 4);
    assert_totals(7);
    scoreboard_release(board, 0);
    scoreboard_release(board, 1);
    assert_totals(7);
}

static void
test_how_requests_ended_is_counted(void **state UNUSED)
{
    static const enum request_result results[] = {
        REQUEST_SERVED, REQUEST_FAILED, REQUEST_CLIENT_GONE,
        REQUEST_FAILED, REQUEST_FAILED, REQUEST_CLIENT_GONE};
    struct request q = {.id = "x", .line = "GET /"};
    struct score_thread *t = scoreboard_thread(board, 0, 0);
    struct score_totals sum;

    scoreboard_take(board, 0, 100, 1);
    for (size_t i = 0; i < ARRAY_SIZE(results); i++) {
        (void)score_begin(board, t, &q);
        assert_true(score_is_busy(t));
        q.result = results[i];
        score_end(board, 0, t, &q, clock_coarse_ms());
        assert_false(score_is_busy(t));
    }
    scoreboard_release(board, 0);
    scoreboard_totals(board, &sum);
    assert_int_equal(sum.requests, 6);
    assert_int_equal(sum.failed, 3);
    assert_int_equal(sum.client_aborts, 2);
}

/* P7: how long a request has waited for its client, also while it waits. */
static void
test_waits_of_a_request(void **state UNUSED)
{
    struct request q = {.id = "x", .line = "GET /"};
    struct score_thread *t = scoreboard_thread(board, 0, 0);
    enum client_wait_kind kind;

    (void)score_begin(board, t, &q);
    int64_t now = t->since_ms + 100;
    assert_int_equal(score_waited(t, now, &kind), 0);
    assert_int_equal(kind, WAIT_NOT);
    atomic_store(&t->wait.kind, WAIT_RECEIVING);
    atomic_store(&t->wait.since_ms, now - 60);
    assert_int_equal(score_waited(t, now, &kind), 60);
    assert_int_equal(kind, WAIT_RECEIVING);
    atomic_store(&t->wait.total_ms, 30);
    assert_int_equal(score_waited(t, now, &kind), 90);
    atomic_store(&t->wait.total_ms, 50);
    assert_int_equal(score_waited(t, now, &kind), 100); /* has not run longer */
    atomic_store(&t->wait.since_ms, now + 5);
    assert_int_equal(score_waited(t, now, &kind), 50); /* begins after now */
    atomic_store(&t->wait.since_ms, 0);
    assert_int_equal(score_waited(t, now, &kind), 50);
    assert_int_equal(kind, WAIT_NOT);
    (void)score_begin(board, t, &q);
    assert_int_equal(score_waited(t, now, &kind), 0); /* another request */
    assert_string_equal(score_wait_name(WAIT_RECEIVING), "receiving the body");
    assert_string_equal(score_wait_name(WAIT_SENDING), "sending the response");
    assert_string_equal(score_wait_name(WAIT_NOT), "");
}

static void
test_work_after_a_response_is_no_idleness(void **state UNUSED)
{
    struct score_thread *t = scoreboard_thread(board, 1, 0);
    struct score_totals sum;

    scoreboard_take(board, 1, 100, 1);
    score_after_begin(board, t);
    assert_true(score_is_busy(t));
    scoreboard_totals(board, &sum);
    assert_int_equal(sum.active, 1);
    score_after_end(board, t);
    assert_false(score_is_busy(t));
}

/* P8: the most at the same time, over all workers, with no sample of it. */
static void
test_most_busy_threads_are_exact(void **state UNUSED)
{
    struct request q = {.id = "x", .line = "GET /"};
    struct score_thread *t = scoreboard_thread(board, 0, 0);
    struct score_thread *other = scoreboard_thread(board, 1, 0);
    struct score_totals sum;

    scoreboard_take(board, 0, 100, 1);
    scoreboard_take(board, 1, 101, 1);
    for (int i = 0; i < 3; i++) { /* one after the other */
        (void)score_begin(board, t, &q);
        score_end(board, 0, t, &q, clock_coarse_ms());
        score_after_begin(board, other);
        score_after_end(board, other);
    }
    scoreboard_totals(board, &sum);
    assert_int_equal(sum.max_active, 1);
    score_after_begin(board, other);
    (void)score_begin(board, t, &q);
    score_end(board, 0, t, &q, clock_coarse_ms());
    score_after_end(board, other);
    scoreboard_totals(board, &sum);
    assert_int_equal(sum.active, 0);
    assert_int_equal(sum.max_active, 2);
}

/* P3: what a worker was doing when it died runs no longer. */
static void
test_a_dead_worker_is_not_busy(void **state UNUSED)
{
    struct request q = {.id = "x", .line = "GET /"};
    struct score_totals sum;

    for (int i = 0; i < 5; i++) {
        scoreboard_take(board, 0, 100, 1);
        if (i % 2 == 0) {
            (void)score_begin(board, scoreboard_thread(board, 0, 0), &q);
        }
        else {
            score_after_begin(board, scoreboard_thread(board, 0, 0));
        }
        scoreboard_release(board, 0);
    }
    scoreboard_totals(board, &sum);
    assert_int_equal(sum.active, 0);
    assert_int_equal(sum.max_active, 1);
}

enum { AT_ONCE = 8, TURNS = 20000 };

static struct scoreboard *wide;
static atomic_int running, most;

/* Counts in another way, inside of what is counted. */
static void *
begin_and_end(void *arg)
{
    struct score_thread *t = arg;
    struct request q = {.id = "x", .line = "GET /"};

    for (int i = 0; i < TURNS; i++) {
        (void)score_begin(wide, t, &q);
        int now = atomic_fetch_add(&running, 1) + 1, seen = atomic_load(&most);
        while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now)) {
        }
        atomic_fetch_sub(&running, 1);
        score_end(wide, 0, t, &q, clock_coarse_ms());
    }
    return NULL;
}

static void
test_most_busy_threads_at_once(void **state UNUSED)
{
    pthread_t threads[AT_ONCE];
    struct score_totals sum;

    wide = scoreboard_new(1, AT_ONCE);
    assert_non_null(wide);
    scoreboard_take(wide, 0, 100, 1);
    for (unsigned i = 0; i < AT_ONCE; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, begin_and_end,
                                        scoreboard_thread(wide, 0, i)),
                         0);
    }
    for (unsigned i = 0; i < AT_ONCE; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    scoreboard_totals(wide, &sum);
    assert_int_equal(atomic_load(&wide->active), 0);
    assert_in_range(sum.max_active, atomic_load(&most), AT_ONCE);
    scoreboard_free(&wide);
}

/* -- how long a load may take ---------------------------------------------------- */

static void
test_the_limit_of_a_load(void **state UNUSED)
{
    assert_int_equal(scoreboard_load_limit(board), 60000);
    scoreboard_note_load(board, 14000);
    assert_int_equal(scoreboard_load_limit(board), 60000);
    scoreboard_note_load(board, 20000);
    assert_int_equal(scoreboard_load_limit(board), 80000);
    scoreboard_note_load(board, 1000); /* the longest counts */
    assert_int_equal(scoreboard_load_limit(board), 80000);
}

/* -- texts ----------------------------------------------------------------------- */

static void
test_texts_of_every_length(void **state UNUSED)
{
    struct score_thread *t = scoreboard_thread(board, 0, 0);
    char line[SCORE_LINE], id[REQUEST_ID_MAX + 1];
    static struct request q;

    assert_false(score_line(t, line)); /* there has been no request */
    assert_false(score_id(t, id));
    /* From long to short, so that something of the last one could be left. */
    for (size_t n = sizeof q.line - 1; n > 0; n--) {
        size_t id_length = n < sizeof q.id ? n : sizeof q.id - 1;
        size_t seen = n < SCORE_LINE ? n : SCORE_LINE - 1;
        memset(q.line, 'a' + (int)(n % 26), n);
        q.line[n] = '\0';
        memset(q.id, 'A' + (int)(n % 26), id_length);
        q.id[id_length] = '\0';
        (void)score_begin(board, t, &q);
        assert_true(score_line(t, line));
        assert_int_equal(strlen(line), seen);
        assert_memory_equal(line, q.line, seen);
        assert_true(score_id(t, id));
        assert_string_equal(id, q.id);
    }
}

enum { ROUNDS = 100000 };

static atomic_bool is_over;

/* A text is of one letter, and as long as that says. */
static void
check_text(const char *text)
{
    size_t n = strlen(text);

    assert_int_equal(n, 1 + 2 * (size_t)(text[0] - 'a'));
    for (size_t i = 1; i < n; i++) {
        assert_int_equal(text[i], text[0]);
    }
}

static void *
writer(void *arg)
{
    static struct request q;

    for (int round = 0; round < ROUNDS; round++) {
        int letter = round % 26;
        size_t n = 1 + 2 * (size_t)letter;
        memset(q.line, 'a' + letter, n);
        q.line[n] = '\0';
        memcpy(q.id, q.line, n + 1);
        (void)score_begin(board, arg, &q);
    }
    atomic_store(&is_over, true);
    return NULL;
}

static void
test_a_text_is_never_torn(void **state UNUSED)
{
    struct score_thread *t = scoreboard_thread(board, 0, 0);
    char line[SCORE_LINE], id[REQUEST_ID_MAX + 1];
    pthread_t thread;
    bool lines = false, ids = false;

    atomic_store(&is_over, false);
    assert_int_equal(pthread_create(&thread, NULL, writer, t), 0);
    while (!atomic_load(&is_over)) {
        if (score_line(t, line)) {
            check_text(line);
            lines = true;
        }
        if (score_id(t, id)) {
            check_text(id);
            ids = true;
        }
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(score_line(t, line) && score_id(t, id));
    assert_true(lines && ids);
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sums_outlive_a_worker),
        TEST(test_how_requests_ended_is_counted),
        TEST(test_waits_of_a_request),
        TEST(test_work_after_a_response_is_no_idleness),
        TEST(test_most_busy_threads_are_exact),
        TEST(test_a_dead_worker_is_not_busy),
        TEST(test_most_busy_threads_at_once),
        TEST(test_the_limit_of_a_load),
        TEST(test_texts_of_every_length),
        TEST(test_a_text_is_never_torn),
    };
    return cmocka_run_group_tests_name("scoreboard", tests, NULL, NULL);
}
