/*
 * test_conn.c - net/conn: one owner at a time, old events take no connection,
 *               and the sweeper shuts down but never closes
 */
#include "unit.h"

#include "net/conn.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>

enum { MAX = 64 };

struct own {
    struct conn conn;
    char what[37]; /* a protocol's own entry, of an odd size */
};

static struct conn_table *table;

/* Our own in place of the C library's: a peer that is just sending. */
static int sender = -1;

int
shutdown(int fd, int how)
{
    int (*real)(int, int);

    if (sender >= 0) {
        assert_int_equal(send(sender, "x", 1, MSG_NOSIGNAL), 1);
        sender = -1;
    }
    *(void **)&real = dlsym(RTLD_NEXT, "shutdown");
    return real(fd, how);
}

static int
setup(void **state UNUSED)
{
    table = conn_table_new(MAX, sizeof(struct own));
    return table == NULL ? -1 : 0;
}

static int
teardown(void **state UNUSED)
{
    conn_table_free(&table);
    assert_null(table);
    conn_table_free(&table);
    return 0;
}

/* Given up and in the poller: what a request thread does in two steps. */
static uint32_t
park(struct conn *c, int64_t deadline_ms)
{
    uint32_t generation = conn_park(c, deadline_ms);
    conn_armed(c, generation);
    return generation;
}

/* A connection of two ends: [0] is in the table, [1] is the peer. */
static struct conn *
open_pair(int ends[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_true(ends[0] < MAX);
    struct conn *c = conn_open(table, ends[0]);
    assert_non_null(c);
    return c;
}

static bool
is_shut_down(int peer)
{
    char c;
    ssize_t n = recv(peer, &c, 1, MSG_DONTWAIT);
    assert_true(n == 0 || (n < 0 && errno == EAGAIN));
    return n == 0;
}

static void
test_descriptors_beyond_the_table(void **state UNUSED)
{
    assert_int_equal(conn_table_max(table), MAX);
    assert_null(conn_open(table, -1));
    assert_null(conn_open(table, MAX));
    for (int fd = MAX - 1; fd >= 0; fd--) {
        struct conn *c = conn_open(table, fd);
        assert_non_null(c);
        assert_int_equal(conn_fd(table, c), fd);
        assert_int_equal((uintptr_t)c % 16, 0);
    }
}

static void
test_only_a_parked_connection_is_taken(void **state UNUSED)
{
    int ends[2];
    struct conn *c = open_pair(ends);
    for (uint32_t g = 0; g < 4; g++) {
        assert_null(conn_take(table, ends[0], g)); /* ours already */
    }
    uint32_t generation = park(c, 0);
    assert_null(conn_take(table, ends[0], generation + 1));
    assert_null(conn_take(table, ends[0], generation - 1));
    assert_ptr_equal(conn_take(table, ends[0], generation), c);
    assert_null(conn_take(table, ends[0], generation)); /* taken once */
    generation = conn_park(c, 0);
    conn_unpark(c);
    assert_null(conn_take(table, ends[0], generation));
    conn_armed(c, generation); /* too late, and without effect */
    assert_null(conn_take(table, ends[0], generation));
    conn_close(table, c);
    assert_int_equal(fcntl(ends[0], F_GETFD), -1);
    assert_null(conn_take(table, ends[0], generation));
    (void)close(ends[1]);
}

static void
test_a_late_event_does_not_find_the_next_connection(void **state UNUSED)
{
    int ends[2];
    int again[2];
    struct conn *c = open_pair(ends);
    uint32_t late = park(c, 0);
    assert_ptr_equal(conn_take(table, ends[0], late), c);
    uint32_t last = park(c, 0);
    assert_null(conn_take(table, ends[0], late));
    assert_ptr_equal(conn_take(table, ends[0], last), c);
    c->in_poller = c->has_send_timeout = true;
    conn_close(table, c);
    (void)close(ends[1]);
    assert_ptr_equal(open_pair(again), c); /* the same number */
    assert_false(c->in_poller);
    assert_false(c->has_send_timeout);
    uint32_t generation = park(c, 0);
    assert_null(conn_take(table, again[0], late));
    assert_null(conn_take(table, again[0], last));
    assert_non_null(conn_take(table, again[0], generation));
    conn_close(table, c);
    (void)close(again[1]);
}

/* They take the bits of a word that the state leaves, and begin again. */
static void
test_generations_run_over(void **state UNUSED)
{
    int ends[2];
    struct conn *c = open_pair(ends);
    uint32_t state_bits = (uint32_t)((1ull << 32) / (CONN_GENERATION + 1ull));
    atomic_store(&c->word, CONN_GENERATION * state_bits + CONN_BUSY);
    assert_null(conn_take(table, ends[0], CONN_GENERATION));
    uint32_t generation = park(c, 0);
    assert_int_equal(generation, 0);
    assert_null(conn_take(table, ends[0], CONN_GENERATION));
    assert_ptr_equal(conn_take(table, ends[0], generation), c);
    conn_close(table, c);
    (void)close(ends[1]);
}

static void
test_the_sweeper(void **state UNUSED)
{
    static const struct {
        int64_t deadline;
        bool parked, kept;
        enum conn_sweep which;
        bool shut;
    } cases[] = {
        /* at the time 100 */
        {99, true, false, SWEEP_OVERDUE, true},
        {100, true, false, SWEEP_OVERDUE, true},
        {101, true, false, SWEEP_OVERDUE, false},
        {101, true, true, SWEEP_OVERDUE, false},
        {0, true, true, SWEEP_OVERDUE, false}, /* no deadline */
        {0, true, true, SWEEP_KEPT, true},
        {101, true, true, SWEEP_KEPT, true},
        {101, true, false, SWEEP_KEPT, false}, /* its first request is due */
        {100, true, false, SWEEP_KEPT, true},
        {0, true, false, SWEEP_ALL, true},
        {101, true, false, SWEEP_ALL, true},
        /* its owner enforces the deadline */
        {100, false, true, SWEEP_OVERDUE, false},
        {100, false, true, SWEEP_KEPT, false},
        {100, false, true, SWEEP_ALL, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (int has_bytes = 0; has_bytes <= 1; has_bytes++) {
            int ends[2];
            struct conn *c = open_pair(ends);
            assert_false(atomic_load(&c->kept));
            assert_false(atomic_load(&c->swept));
            atomic_store(&c->kept, cases[i].kept);
            atomic_store(&c->deadline_ms, cases[i].deadline);
            uint32_t generation = 0;
            if (cases[i].parked) {
                generation = park(c, cases[i].deadline);
            }
            if (has_bytes != 0) {
                assert_int_equal(send(ends[1], "x", 1, 0), 1);
            }
            conn_sweep(table, 100, cases[i].which);
            bool shut = is_shut_down(ends[1]);
            /* A request that has arrived is not thrown away. */
            if (shut != (cases[i].shut && has_bytes == 0) ||
                atomic_load(&c->swept) != shut) {
                fail_msg("case %zu, bytes %d", i, has_bytes);
            }
            assert_true(fcntl(ends[0], F_GETFD) >= 0); /* never closed */
            if (cases[i].parked) {
                assert_ptr_equal(conn_take(table, ends[0], generation), c);
            }
            conn_close(table, c);
            (void)close(ends[1]);
        }
    }
}

/* Between the look and the end: what could be sent is not thrown away, and from
 * then on nothing can be sent. */
static void
test_bytes_that_come_just_now(void **state UNUSED)
{
    int ends[2];
    struct conn *c = open_pair(ends);
    uint32_t generation = park(c, 1);
    sender = ends[1];
    conn_sweep(table, 100, SWEEP_OVERDUE);
    assert_false(atomic_load(&c->swept));
    assert_int_equal(send(ends[1], "y", 1, MSG_NOSIGNAL), -1);
    assert_ptr_equal(conn_take(table, ends[0], generation), c);
    char bytes[2];
    assert_int_equal(recv(ends[0], bytes, 2, MSG_DONTWAIT), 1);
    assert_int_equal(send(ends[0], "z", 1, 0), 1); /* the answer */
    assert_int_equal(recv(ends[1], bytes, 2, MSG_DONTWAIT), 1);
    conn_close(table, c);
    (void)close(ends[1]);
}

static struct conn *offered;

static bool
take_offer(void *arg, struct conn *c, int fd UNUSED)
{
    offered = c;
    return *(bool *)arg;
}

static void
test_give(void **state UNUSED)
{
    int ends[2];
    bool take = false;
    struct conn *c = open_pair(ends);

    offered = NULL;
    conn_pass_parked(table, take_offer, &take);
    assert_null(offered); /* it is ours */
    uint32_t generation = park(c, 0);
    conn_pass_parked(table, take_offer, &take);
    assert_ptr_equal(offered, c);
    assert_ptr_equal(conn_take(table, ends[0], generation), c);
    generation = park(c, 0);
    take = true;
    conn_pass_parked(table, take_offer, &take);
    assert_int_equal(conn_table_open(table), 0);
    assert_null(conn_take(table, ends[0], generation));
    assert_int_equal(fcntl(ends[0], F_GETFD), -1);
    (void)close(ends[1]);
}

/* Its owner is about to hand the descriptor to the poller: neither may it be
 * closed in between nor, the number, become another connection's. */
static void
test_only_armed_connections_are_passed(void **state UNUSED)
{
    int ends[2];
    bool take = true;
    struct conn *c = open_pair(ends);
    uint32_t generation = conn_park(c, 1);

    offered = NULL;
    conn_pass_parked(table, take_offer, &take);
    assert_null(offered);
    conn_sweep(table, 100, SWEEP_ALL);
    assert_false(is_shut_down(ends[1]));
    conn_armed(c, generation);
    conn_sweep(table, 100, SWEEP_ALL);
    assert_true(is_shut_down(ends[1]));
    assert_ptr_equal(conn_take(table, ends[0], generation), c);
    conn_close(table, c);
    (void)close(ends[1]);
}

/* A thread that is woken at once takes it, and parks it again, before the one
 * that armed the poller goes on. */
static void
test_who_is_woken_is_faster(void **state UNUSED)
{
    int ends[2];
    bool take = true;
    struct conn *c = open_pair(ends);
    uint32_t first = conn_park(c, 0);

    offered = NULL;
    assert_ptr_equal(conn_take(table, ends[0], first), c);
    conn_armed(c, first);
    conn_pass_parked(table, take_offer, &take);
    assert_null(offered); /* it is the other's */
    uint32_t second = conn_park(c, 0);
    conn_armed(c, first);
    conn_pass_parked(table, take_offer, &take);
    assert_null(offered); /* not armed yet by him */
    conn_armed(c, second);
    conn_pass_parked(table, take_offer, &take);
    assert_ptr_equal(offered, c);
    (void)close(ends[1]);
}

static void
test_the_number_of_open_connections(void **state UNUSED)
{
    int a[2];
    int b[2];
    assert_int_equal(conn_table_open(table), 0);
    struct conn *first = open_pair(a);
    (void)open_pair(b);
    assert_int_equal(conn_table_open(table), 2);
    uint32_t generation = park(first, 0);
    assert_int_equal(conn_table_open(table), 2);
    conn_close(table, conn_take(table, a[0], generation));
    assert_int_equal(conn_table_open(table), 1);
    conn_close_all(table);
    assert_int_equal(conn_table_open(table), 0);
    (void)close(a[1]);
    (void)close(b[1]);
}

static void
test_close_all(void **state UNUSED)
{
    int a[2];
    int b[2];
    int c[2];
    (void)park(open_pair(a), 0);
    (void)open_pair(b);
    conn_close(table, open_pair(c));
    (void)close(c[1]);
    conn_close_all(table);
    assert_true(is_shut_down(a[1]));
    assert_true(is_shut_down(b[1]));
    (void)close(a[1]);
    (void)close(b[1]);
}

/* Bytes that were received already are no reason to end a connection, unless
 * its peer takes no answers. */
static void
test_received_input(void **state UNUSED)
{
    char waste[1024] = "";
    int ends[2];
    struct conn *c = open_pair(ends);

    c->has_input = true;
    uint32_t generation = park(c, 50);
    conn_sweep(table, 100, SWEEP_OVERDUE);
    conn_sweep(table, 100, SWEEP_ALL);
    assert_false(is_shut_down(ends[1]));
    while (send(ends[0], waste, sizeof waste, MSG_DONTWAIT) > 0) {
    }
    conn_sweep(table, 40, SWEEP_OVERDUE);
    assert_false(atomic_load(&c->swept));
    conn_sweep(table, 100, SWEEP_OVERDUE);
    assert_true(atomic_load(&c->swept));
    assert_ptr_equal(conn_take(table, ends[0], generation), c);
    conn_close(table, c);
    (void)close(ends[1]);
}

/* Several threads after the same event while the sweeper runs: one gets it. */
enum { ROUNDS = 20000, TAKERS = 2 };

static struct {
    struct conn *conn;
    int fd;
    _Atomic uint32_t generation; /* of the event */
    atomic_int owners, most, taken;
    atomic_bool stop;
} race;

static void *
taker(void *arg UNUSED)
{
    while (!atomic_load(&race.stop)) {
        struct conn *c =
            conn_take(table, race.fd, atomic_load(&race.generation));
        if (c == NULL) {
            continue;
        }
        int owners = atomic_fetch_add(&race.owners, 1) + 1;
        if (owners > atomic_load(&race.most)) {
            atomic_store(&race.most, owners);
        }
        if (atomic_fetch_add(&race.taken, 1) + 1 >= ROUNDS) {
            atomic_store(&race.stop, true);
        }
        atomic_fetch_sub(&race.owners, 1);
        uint32_t generation = conn_park(c, 1);
        atomic_store(&race.generation, generation); /* it is armed */
        conn_armed(c, generation);
    }
    return NULL;
}

static void
test_one_owner_at_a_time(void **state UNUSED)
{
    int ends[2];
    pthread_t threads[TAKERS];
    race.conn = open_pair(ends);
    race.fd = ends[0];
    atomic_store(&race.generation, park(race.conn, 1));
    for (size_t i = 0; i < TAKERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, taker, NULL), 0);
    }
    while (!atomic_load(&race.stop)) {
        conn_sweep(table, 100, SWEEP_OVERDUE);
    }
    for (size_t i = 0; i < TAKERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&race.most), 1);
    assert_true(atomic_load(&race.taken) >= ROUNDS);
    assert_ptr_equal(conn_take(table, ends[0], atomic_load(&race.generation)),
                     race.conn);
    conn_close(table, race.conn);
    (void)close(ends[1]);
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_descriptors_beyond_the_table),
        TEST(test_only_a_parked_connection_is_taken),
        TEST(test_a_late_event_does_not_find_the_next_connection),
        TEST(test_generations_run_over),
        TEST(test_the_sweeper),
        TEST(test_received_input),
        TEST(test_bytes_that_come_just_now),
        TEST(test_give),
        TEST(test_only_armed_connections_are_passed),
        TEST(test_who_is_woken_is_faster),
        TEST(test_the_number_of_open_connections),
        TEST(test_close_all),
        TEST(test_one_owner_at_a_time),
    };
    return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
