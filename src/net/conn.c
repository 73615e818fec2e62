/*
 * conn.c - accepted connections: the owner and the deadline of each
 */
#include "net/conn.h"

#include "os/fd.h"

#include <assert.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { STATE_BITS = 3, STATE_MASK = (1 << STATE_BITS) - 1 };

struct conn_table {
    char *entries;
    size_t max, entry_size;
    atomic_int top;     /* highest descriptor ever used + 1; any thread */
    atomic_size_t open; /* connections that are not FREE; any thread */
};

struct conn_table *
conn_table_new(size_t max, size_t entry_size)
{
    struct conn_table *t = calloc(1, sizeof *t);

    if (t == NULL) {
        return NULL;
    }
    assert(entry_size >= sizeof(struct conn));
    t->max = max;
    t->entry_size = (entry_size + 15) & ~(size_t)15;
    t->entries = mmap(NULL, max * t->entry_size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (t->entries == MAP_FAILED) {
        free(t);
        return NULL;
    }
    return t;
}

void
conn_table_free(struct conn_table **t)
{
    if (*t != NULL) {
        (void)munmap((*t)->entries, (*t)->max * (*t)->entry_size);
        free(*t);
        *t = NULL;
    }
}

size_t
conn_table_open(const struct conn_table *t)
{
    return atomic_load(&t->open);
}

size_t
conn_table_max(const struct conn_table *t)
{
    return t->max;
}

static struct conn *
entry(const struct conn_table *t, int fd)
{
    assert(fd >= 0 && (size_t)fd < t->max);
    void *p = t->entries + (size_t)fd * t->entry_size;
    return p;
}

int
conn_fd(const struct conn_table *t, const struct conn *c)
{
    const void *p = c;
    return (int)((size_t)((const char *)p - t->entries) / t->entry_size);
}

static uint32_t
word_of(uint32_t generation, enum conn_state state)
{
    return generation << STATE_BITS | (uint32_t)state;
}

static uint32_t
generation_of(uint32_t word)
{
    return word >> STATE_BITS;
}

static enum conn_state
state_of(uint32_t word)
{
    return (enum conn_state)(word & STATE_MASK);
}

/* For the owner of an entry: no other thread changes the word meanwhile. */
static void
set_state(struct conn *c, enum conn_state state)
{
    atomic_store(&c->word,
                 word_of(generation_of(atomic_load(&c->word)), state));
}

static bool
is_parked(const struct conn *c)
{
    uint32_t word = atomic_load_explicit(&c->word, memory_order_relaxed);

    return state_of(word) == CONN_PARKED;
}

/* Takes a parked entry for the sweeper, until set_state(): a thread that the
 * poller wakes for it waits. */
static bool
hold(struct conn *c)
{
    uint32_t word = atomic_load_explicit(&c->word, memory_order_relaxed);

    return state_of(word) == CONN_PARKED &&
           atomic_compare_exchange_strong(
               &c->word, &word, word_of(generation_of(word), CONN_SWEPT));
}

struct conn *
conn_open(struct conn_table *t, int fd)
{
    if (fd < 0 || (size_t)fd >= t->max) {
        return NULL;
    }
    struct conn *c = entry(t, fd);
    /* First: its load makes what the last owner of this number did visible. */
    assert(state_of(atomic_load(&c->word)) == CONN_FREE);
    set_state(c, CONN_BUSY);
    atomic_store(&c->swept, false);
    atomic_store(&c->kept, false);
    atomic_store(&c->lingering, false);
    atomic_fetch_add(&t->open, 1);
    c->in_poller = false;
    c->has_input = false;
    c->has_send_timeout = false;
    c->served_ms = 0;
    int top = atomic_load(&t->top);
    while (top <= fd && !atomic_compare_exchange_weak(&t->top, &top, fd + 1)) {
    }
    return c;
}

struct conn *
conn_take(struct conn_table *t, int fd, uint32_t generation)
{
    struct conn *c = entry(t, fd);
    uint32_t word = atomic_load(&c->word);

    while (generation_of(word) == generation) {
        switch (state_of(word)) {
        case CONN_FREE:
        case CONN_BUSY:
            return NULL;
        case CONN_ARMING:
        case CONN_PARKED:
            if (atomic_compare_exchange_weak(&c->word, &word,
                                             word_of(generation, CONN_BUSY))) {
                return c;
            }
            break;
        case CONN_SWEPT: /* the sweeper has it for a few system calls */
            (void)sched_yield();
            word = atomic_load(&c->word);
            break;
        }
    }
    return NULL;
}

uint32_t
conn_park(struct conn *c, int64_t deadline_ms)
{
    uint32_t generation =
        (generation_of(atomic_load(&c->word)) + 1) & CONN_GENERATION;

    assert(state_of(atomic_load(&c->word)) == CONN_BUSY);
    atomic_store_explicit(&c->deadline_ms, deadline_ms, memory_order_relaxed);
    c->seen_ms = 0;
    atomic_store(&c->word, word_of(generation, CONN_ARMING));
    return generation;
}

void
conn_armed(struct conn *c, uint32_t generation)
{
    uint32_t word = word_of(generation, CONN_ARMING);

    (void)atomic_compare_exchange_strong(&c->word, &word,
                                         word_of(generation, CONN_PARKED));
}

void
conn_unpark(struct conn *c)
{
    assert(state_of(atomic_load(&c->word)) == CONN_ARMING);
    set_state(c, CONN_BUSY);
}

void
conn_close(struct conn_table *t, struct conn *c)
{
    int fd = conn_fd(t, c);

    assert(state_of(atomic_load(&c->word)) != CONN_FREE);
    /* Before close(): accept() may return the number again at once. */
    set_state(c, CONN_FREE);
    fd_close(&fd);
    atomic_fetch_sub(&t->open, 1);
}

void
conn_pass_parked(struct conn_table *t,
                 bool (*pass)(void *arg, struct conn *c, int fd), void *arg)
{
    int top = atomic_load(&t->top);

    for (int fd = 0; fd < top; fd++) {
        struct conn *c = entry(t, fd);
        /* A thread that is woken for it waits until pass() has returned. */
        if (!hold(c)) {
            continue;
        }
        if (pass(arg, c, fd)) {
            conn_close(t, c);
        }
        else {
            set_state(c, CONN_PARKED);
        }
    }
}

void
conn_close_all(struct conn_table *t)
{
    int top = atomic_load(&t->top);

    for (int fd = 0; fd < top; fd++) {
        struct conn *c = entry(t, fd);
        if (state_of(atomic_load(&c->word)) != CONN_FREE) {
            conn_close(t, c);
        }
    }
}

static bool
is_due(struct conn *c, int64_t now_ms, enum conn_sweep which)
{
    long long deadline =
        atomic_load_explicit(&c->deadline_ms, memory_order_relaxed);

    if (deadline != 0 && deadline <= now_ms) {
        return true;
    }
    return !atomic_load(&c->lingering) &&
           (which == SWEEP_ALL ||
            (which == SWEEP_KEPT && atomic_load(&c->kept)));
}

/* True where nothing will wake a thread for it. Where input waits outside of
 * the socket, that is room for the answer: so the deadline also ends a peer
 * that never reads. */
static bool
is_idle(const struct conn *c, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    char byte;

    if (c->has_input) {
        return poll(&p, 1, 0) <= 0 || (p.revents & POLLOUT) == 0;
    }
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

/* The entry is SWEPT: no thread takes it meanwhile. */
static void
sweep_one(struct conn *c, int fd, int64_t now_ms, enum conn_sweep which)
{
    if (!is_due(c, now_ms, which) || !is_idle(c, fd)) {
        return;
    }
    /* From now on the peer of a unix socket gets an error when it sends. What
     * it has sent before is a request that must be answered. */
    (void)shutdown(fd, SHUT_RD);
    if (is_idle(c, fd)) {
        atomic_store(&c->swept, true);
        (void)shutdown(fd, SHUT_RDWR);
    }
}

void
conn_sweep(struct conn_table *t, int64_t now_ms, enum conn_sweep which)
{
    int top = atomic_load(&t->top);

    for (int fd = 0; fd < top; fd++) {
        struct conn *c = entry(t, fd);
        if (is_parked(c) && is_due(c, now_ms, which) && hold(c)) {
            sweep_one(c, fd, now_ms, which);
            set_state(c, CONN_PARKED);
        }
    }
}
