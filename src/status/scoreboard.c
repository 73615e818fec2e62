#include "status/scoreboard.h"

#include "base/clock.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum {
    LOAD_MS = 60000, /* or, if more, so many times the longest load: */
    LOAD_FACTOR = 4
};

static size_t
size_of(unsigned nworkers, unsigned nthreads)
{
    return sizeof(struct scoreboard) + nworkers * sizeof(struct score_worker) +
           (size_t)nworkers * nthreads * sizeof(struct score_thread);
}

struct scoreboard *
scoreboard_new(unsigned nworkers, unsigned nthreads)
{
    struct scoreboard *b =
        mmap(NULL, size_of(nworkers, nthreads), PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (b == MAP_FAILED) {
        return NULL;
    }
    b->nworkers = nworkers;
    b->nthreads = nthreads;
    b->started_at = time(NULL);
    b->started_ms = clock_ms();
    atomic_store(&b->generation, 1);
    return b;
}

void
scoreboard_free(struct scoreboard **b)
{
    if (*b != NULL) {
        (void)munmap(*b, size_of((*b)->nworkers, (*b)->nthreads));
        *b = NULL;
    }
}

struct score_thread *
scoreboard_thread(struct scoreboard *b, unsigned worker, unsigned thread)
{
    void *threads = &b->workers[b->nworkers];
    struct score_thread *t = threads;

    assert(worker < b->nworkers && thread < b->nthreads);
    return &t[(size_t)worker * b->nthreads + thread];
}

void
scoreboard_take(struct scoreboard *b, unsigned worker, pid_t pid,
                unsigned generation)
{
    struct score_worker *w = &b->workers[worker];

    assert(worker < b->nworkers && atomic_load(&w->state) == SCORE_FREE);
    for (unsigned i = 0; i < b->nthreads; i++) {
        memset(scoreboard_thread(b, worker, i), 0, sizeof(struct score_thread));
    }
    memset(w, 0, sizeof *w);
    atomic_store(&w->generation, generation);
    atomic_store(&w->started_ms, clock_ms());
    atomic_store(&w->started_at, time(NULL));
    atomic_store(&w->pid, pid);
    atomic_store(&w->state, SCORE_STARTING);
}

void
scoreboard_set_reloads(struct scoreboard *b, unsigned reloads)
{
    atomic_store(&b->reloads, reloads);
    atomic_store(&b->generation, 1 + reloads);
}

void
scoreboard_note_load(struct scoreboard *b, int64_t took_ms)
{
    long long most = atomic_load(&b->load_ms);

    while (took_ms > most &&
           !atomic_compare_exchange_weak(&b->load_ms, &most, took_ms)) {
        /* most now is what another process has stored */
    }
}

int64_t
scoreboard_load_limit(struct scoreboard *b)
{
    int64_t limit = LOAD_FACTOR * (int64_t)atomic_load(&b->load_ms);

    return limit > LOAD_MS ? limit : LOAD_MS;
}

void
scoreboard_release(struct scoreboard *b, unsigned worker)
{
    struct score_worker *w = &b->workers[worker];

    assert(worker < b->nworkers && atomic_load(&w->state) != SCORE_FREE);
    /* It may have died in the middle of requests. */
    for (unsigned i = 0; i < b->nthreads; i++) {
        struct score_thread *t = scoreboard_thread(b, worker, i);
        if (score_is_busy(t)) {
            atomic_fetch_sub(&b->active, 1);
            atomic_store(&t->since_ms, 0);
            atomic_store(&t->after_ms, 0);
        }
    }
    atomic_fetch_add(&b->gone_requests, atomic_load(&w->requests));
    atomic_fetch_add(&b->gone_accepted, atomic_load(&w->accepted));
    atomic_fetch_add(&b->gone_failed, atomic_load(&w->failed));
    atomic_fetch_add(&b->gone_client_aborts, atomic_load(&w->client_aborts));
    atomic_fetch_add(&b->gone_slow, atomic_load(&w->slow));
    atomic_fetch_add(&b->gone_timeouts, atomic_load(&w->timeouts));
    atomic_fetch_add(&b->gone_queue_timeouts, atomic_load(&w->queue_timeouts));
    memset(w, 0, sizeof *w);
    atomic_store(&w->state, SCORE_FREE);
}

struct listen_queue
scoreboard_look_at_queue(struct scoreboard *b, const struct listener *listeners,
                         size_t n)
{
    struct listen_queue q = listen_queue_look(listeners, n);
    unsigned most = atomic_load(&b->max_listen_queue);

    while (
        q.is_known && q.waiting > most &&
        !atomic_compare_exchange_weak(&b->max_listen_queue, &most, q.waiting)) {
        /* most now is what another process has stored */
    }
    return q;
}

/* While a thread is idle, nothing waits for longer than it takes to wake it. */
void
scoreboard_sample(struct scoreboard *b, const struct listener *listeners,
                  size_t n)
{
    struct score_totals t;

    scoreboard_totals(b, &t);
    if (t.threads > 0 && t.active >= t.threads) {
        atomic_fetch_add_explicit(&b->all_busy, 1, memory_order_relaxed);
    }
    if (t.workers > 0 && t.active >= t.threads) {
        (void)scoreboard_look_at_queue(b, listeners, n);
    }
}

/* Copies a text to words of shared memory. A reader sees from text_seq whether
 * the text has changed meanwhile. from has room for whole words. */
static void
put_text(_Atomic uint64_t *to, char *from)
{
    size_t length = strlen(from), n = length / sizeof *to + 1;

    memset(from + length, 0, n * sizeof *to - length);
    for (size_t i = 0; i < n; i++) {
        uint64_t word;
        memcpy(&word, from + i * sizeof word, sizeof word);
        atomic_store_explicit(&to[i], word, memory_order_relaxed);
    }
}

/* Of all processes at once. Each change returns the number that it leads to, so
 * that no maximum is missed. */
static void
begin_busy(struct scoreboard *b)
{
    int now =
        atomic_fetch_add_explicit(&b->active, 1, memory_order_relaxed) + 1;
    int most = atomic_load_explicit(&b->max_active, memory_order_relaxed);

    while (now > most &&
           !atomic_compare_exchange_weak(&b->max_active, &most, now)) {
        /* most now is what another thread has stored */
    }
}

/* After the thread's own fields: a process that is killed before it gets here
 * has counted one too many from then on, and never one too few. */
static void
end_busy(struct scoreboard *b)
{
    atomic_fetch_sub_explicit(&b->active, 1, memory_order_relaxed);
}

uint64_t
score_begin(struct scoreboard *b, struct score_thread *t, struct request *q)
{
    char line[sizeof t->line], id[sizeof t->id];
    uint32_t seq = atomic_load_explicit(&t->text_seq, memory_order_relaxed);

    assert(seq % 2 == 0); /* no other thread writes this slot */
    assert(strlen(request_id(q)) < sizeof id);
    request_line(q, line, sizeof line);
    (void)stpcpy(id, request_id(q));
    atomic_store_explicit(&t->text_seq, seq + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    put_text(t->line, line);
    put_text(t->id, id);
    atomic_store_explicit(&t->text_seq, seq + 2, memory_order_release);
    atomic_store_explicit(&t->wait.since_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&t->wait.total_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&t->wait.kind, WAIT_NOT, memory_order_relaxed);
    /* A reader that sees the new serial sees the end of the last request; one
     * that sees the new time sees no wait of the last request. */
    uint64_t serial =
        atomic_fetch_add_explicit(&t->serial, 1, memory_order_release) + 1;
    begin_busy(b);
    atomic_store_explicit(&t->since_ms, clock_coarse_ms(),
                          memory_order_release);
    return serial;
}

void
score_end(struct scoreboard *b, unsigned worker, struct score_thread *t,
          const struct request *q, int64_t now_ms)
{
    struct score_worker *w = &b->workers[worker];
    long long since = atomic_load_explicit(&t->since_ms, memory_order_relaxed);

    assert(since != 0); /* score_begin() was called */
    atomic_store_explicit(&t->last_us, (now_ms - since) * 1000,
                          memory_order_relaxed);
    atomic_store_explicit(&t->since_ms, 0, memory_order_release);
    end_busy(b);
    atomic_fetch_add_explicit(&t->requests, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->requests, 1, memory_order_relaxed);
    if (q->result == REQUEST_FAILED) {
        atomic_fetch_add_explicit(&w->failed, 1, memory_order_relaxed);
    }
    else if (q->result == REQUEST_CLIENT_GONE) {
        atomic_fetch_add_explicit(&w->client_aborts, 1, memory_order_relaxed);
    }
}

void
score_queue_timeout(struct scoreboard *b, unsigned worker)
{
    atomic_fetch_add_explicit(&b->workers[worker].queue_timeouts, 1,
                              memory_order_relaxed);
}

void
score_after_begin(struct scoreboard *b, struct score_thread *t)
{
    begin_busy(b);
    atomic_store_explicit(&t->after_ms, clock_coarse_ms(),
                          memory_order_release);
}

void
score_after_end(struct scoreboard *b, struct score_thread *t)
{
    atomic_store_explicit(&t->after_ms, 0, memory_order_release);
    end_busy(b);
}

bool
score_is_busy(const struct score_thread *t)
{
    return atomic_load_explicit(&t->since_ms, memory_order_acquire) != 0 ||
           atomic_load_explicit(&t->after_ms, memory_order_acquire) != 0;
}

unsigned
scoreboard_busy_threads(struct scoreboard *b, unsigned worker)
{
    unsigned n = 0;

    for (unsigned i = 0; i < b->nthreads; i++) {
        n += score_is_busy(scoreboard_thread(b, worker, i));
    }
    return n;
}

bool
score_is_serving(const struct score_thread *t)
{
    return atomic_load(&t->since_ms) != 0 &&
           atomic_load(&t->lost_serial) != atomic_load(&t->serial);
}

/* The order is the reverse of the writer's: a wait that ends meanwhile may be
 * counted twice, but is not missed. */
int64_t
score_waited(const struct score_thread *t, int64_t now_ms,
             enum client_wait_kind *ret_kind)
{
    int64_t run_since = atomic_load(&t->since_ms);
    int64_t since = atomic_load(&t->wait.since_ms);
    int64_t waited = atomic_load(&t->wait.total_ms);

    *ret_kind = since != 0 ? atomic_load(&t->wait.kind) : WAIT_NOT;
    if (since != 0 && since < now_ms) {
        waited += now_ms - since;
    }
    return waited < now_ms - run_since ? waited : now_ms - run_since;
}

const char *
score_wait_name(enum client_wait_kind kind)
{
    return kind == WAIT_RECEIVING ? "receiving the body"
           : kind == WAIT_SENDING ? "sending the response"
                                  : "";
}

/* Copies a text of t, n words at from, that is not being written meanwhile.
 * False: there is none. */
static bool
read_text(const struct score_thread *t, char *to, const _Atomic uint64_t *from,
          size_t n)
{
    for (int tries = 0; tries < 100; tries++) {
        uint32_t seq = atomic_load_explicit(&t->text_seq, memory_order_acquire);
        if ((seq & 1) != 0) {
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            uint64_t word =
                atomic_load_explicit(&from[i], memory_order_relaxed);
            memcpy(to + i * sizeof word, &word, sizeof word);
        }
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&t->text_seq, memory_order_relaxed) == seq) {
            return to[0] != '\0';
        }
    }
    return false;
}

bool
score_line(const struct score_thread *t, char to[SCORE_LINE])
{
    char text[sizeof t->line];
    bool is_there = read_text(t, text, t->line, SCORE_LINE_WORDS);

    if (is_there) {
        memcpy(to, text, SCORE_LINE);
    }
    return is_there;
}

bool
score_id(const struct score_thread *t, char to[REQUEST_ID_MAX + 1])
{
    char text[sizeof t->id];
    bool is_there = read_text(t, text, t->id, SCORE_ID_WORDS);

    if (is_there) {
        memcpy(to, text, REQUEST_ID_MAX + 1);
    }
    return is_there;
}

static void
count_state(struct score_totals *t, enum score_state state)
{
    t->workers++;
    switch (state) {
    case SCORE_READY:
    case SCORE_RECYCLE:
        t->ready++;
        break;
    case SCORE_STARTING:
        t->starting++;
        break;
    case SCORE_BROKEN:
        t->broken++;
        break;
    case SCORE_DRAINING:
        t->draining++;
        break;
    case SCORE_FREE:
    case SCORE_STATE_MAX:
        break;
    }
}

void
scoreboard_totals(struct scoreboard *b, struct score_totals *ret)
{
    struct score_totals t = {
        .requests = atomic_load(&b->gone_requests),
        .accepted = atomic_load(&b->gone_accepted),
        .failed = atomic_load(&b->gone_failed),
        .client_aborts = atomic_load(&b->gone_client_aborts),
        .slow = atomic_load(&b->gone_slow),
        .timeouts = atomic_load(&b->gone_timeouts),
        .queue_timeouts = atomic_load(&b->gone_queue_timeouts),
    };

    for (unsigned i = 0; i < b->nworkers; i++) {
        struct score_worker *w = &b->workers[i];
        enum score_state state = atomic_load(&w->state);
        if (state == SCORE_FREE) {
            continue;
        }
        count_state(&t, state);
        t.threads += state == SCORE_STARTING ? 0 : b->nthreads;
        t.requests += atomic_load_explicit(&w->requests, memory_order_relaxed);
        t.accepted += atomic_load_explicit(&w->accepted, memory_order_relaxed);
        t.failed += atomic_load_explicit(&w->failed, memory_order_relaxed);
        t.client_aborts +=
            atomic_load_explicit(&w->client_aborts, memory_order_relaxed);
        t.slow += atomic_load_explicit(&w->slow, memory_order_relaxed);
        t.timeouts += atomic_load_explicit(&w->timeouts, memory_order_relaxed);
        t.queue_timeouts +=
            atomic_load_explicit(&w->queue_timeouts, memory_order_relaxed);
        t.active += scoreboard_busy_threads(b, i);
    }
    /* Read last: max_active counts each thread that was seen above. They were
     * seen one after the other, so there may be more of them than there ever
     * were at the same time. */
    t.max_active = (unsigned)atomic_load(&b->max_active);
    t.active = t.active < t.max_active ? t.active : t.max_active;
    *ret = t;
}

const char *
score_state_name(enum score_state s)
{
    static const char *const names[SCORE_STATE_MAX] = {
        [SCORE_FREE] = "free",         [SCORE_STARTING] = "starting",
        [SCORE_READY] = "ready",       [SCORE_BROKEN] = "broken",
        [SCORE_RECYCLE] = "recycling", [SCORE_DRAINING] = "draining",
    };

    return s < SCORE_STATE_MAX ? names[s] : "unknown";
}
