#include "worker/watchdog.h"

#include "base/buf.h"
#include "context/interrupt.h"
#include "debug/stack_dump.h"
#include "os/log.h"
#include "process/logs.h"
#include "transport/late_lines.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    GRACE_MS = 2000,    /* for a request to end after RequestTimeout */
    INTERRUPT_MS = 100, /* between two interrupts of one that goes on */
    DUMP_MS = 5,        /* between two looks at a dump that is being made */
    WAIT_MS = 100,      /* between two looks at a request that waits for its
                         * client and is nearly slow */
    IDLE_MS = 60000     /* nothing to watch for */
};

enum stage {
    STAGE_CALM,
    STAGE_DUE,    /* its stack is being dumped */
    STAGE_RAISED, /* the exception is on its way, or has been raised */
    STAGE_LOST
};

struct watched {
    /* The request thread sets both in watchdog_enter(), first id. */
    pthread_t id;
    _Atomic pid_t tid;      /* 0 = it has not started yet */
    struct cancel cancel;   /* serial: the watchdog; told: the request thread */
    struct late_lines late; /* for the web server of an instance */
    /* All below: the thread that calls watchdog_run(). */
    uint64_t serial; /* of the request that is watched */
    uint64_t dumped; /* of its request, if the present dump is about that; the
                      * thread that makes the dump reads it */
    int64_t since_ms;
    int64_t waited_ms; /* for its client: does not count for --slow */
    enum client_wait_kind wait;
    enum stage stage;
    bool runs;
    bool slow_seen;
    bool answered; /* LOST: the client has a response from us */
    int64_t raised_ms, interrupted_ms;
};

struct watchdog {
    /* Set by watchdog_new(), and only read after that. */
    const struct config *config;
    struct scoreboard *board;
    unsigned worker;
    bool is_replaced; /* a new process takes the place of this one */
    /* All below: the thread that calls watchdog_run(). */
    const char *dump_wanted; /* why, such as "SIGUSR2"; NULL = none is */
    bool dumping;
    unsigned lost; /* threads with a request that has not ended all the same */
    unsigned lost_ever;
    struct watched threads[];
};

struct watchdog *
watchdog_new(const struct config *config, struct scoreboard *board,
             unsigned worker, bool is_replaced)
{
    struct watchdog *w =
        calloc(1, sizeof *w + board->nthreads * sizeof w->threads[0]);

    if (w != NULL) {
        w->config = config;
        w->board = board;
        w->worker = worker;
        w->is_replaced = is_replaced;
        for (unsigned i = 0; i < board->nthreads; i++) {
            late_lines_init(&w->threads[i].late);
        }
    }
    return w;
}

void
watchdog_enter(struct watchdog *w, unsigned thread)
{
    struct watched *t = &w->threads[thread];

    assert(thread < w->board->nthreads);
    t->id = pthread_self();
    atomic_store(&t->tid, gettid());
}

static struct score_thread *
score_of(const struct watchdog *w, const struct watched *t)
{
    return scoreboard_thread(w->board, w->worker, (unsigned)(t - w->threads));
}

void
watchdog_begin(struct watchdog *w, unsigned thread, uint64_t serial,
               struct request *q)
{
    q->serial = serial;
    q->wait = &score_of(w, &w->threads[thread])->wait;
    if (w->config->request_timeout_ms == 0 && w->config->slow_ms == 0) {
        q->cancel = NULL;
        return;
    }
    q->cancel = &w->threads[thread].cancel;
    if (w->config->is_warm) {
        q->late = &w->threads[thread].late;
        late_lines_begin(q->late, serial);
    }
}

void
watchdog_dump(struct watchdog *w, const char *why)
{
    w->dump_wanted = why;
}

bool
watchdog_is_lost(const struct watchdog *w, unsigned thread)
{
    assert(thread < w->board->nthreads);
    return w->threads[thread].stage == STAGE_LOST;
}

unsigned
watchdog_lost(const struct watchdog *w)
{
    return w->lost;
}

unsigned
watchdog_lost_ever(const struct watchdog *w)
{
    return w->lost_ever;
}

/* -- what the threads do --------------------------------------------------- */

/* True where a request runs in the thread; then serial, since_ms and its waits
 * are its own: the next request changes since_ms first. */
static bool
observe(const struct watchdog *w, struct watched *t, int64_t now)
{
    struct score_thread *score = score_of(w, t);
    uint64_t serial = atomic_load(&score->serial);
    int64_t since = atomic_load(&score->since_ms);
    enum client_wait_kind wait;
    int64_t waited = score_waited(score, now, &wait);

    if (since == 0 || atomic_load(&t->tid) == 0 ||
        atomic_load(&score->since_ms) != since ||
        atomic_load(&score->serial) != serial) {
        t->stage = STAGE_CALM;
        return false;
    }
    if (t->serial != serial) {
        t->serial = serial;
        t->since_ms = since;
        t->stage = STAGE_CALM;
        t->slow_seen = false;
    }
    t->waited_ms = waited;
    t->wait = wait;
    return true;
}

/* "GET /path", and the id. */
static void
describe(const struct watchdog *w, const struct watched *t,
         char id[REQUEST_ID_MAX + 1], char line[SCORE_LINE])
{
    if (!score_id(score_of(w, t), id)) {
        id[0] = '\0';
    }
    if (!score_line(score_of(w, t), line)) {
        (void)snprintf(line, SCORE_LINE, "a request");
    }
}

static void
say(const struct watchdog *w, struct watched *t, const char *text)
{
    char line[SCORE_LINE], id[REQUEST_ID_MAX + 1];
    struct log_entry e = {
        .level = LOG_LEVEL_ERROR, .request = line, .text = text};
    struct buf copy;

    describe(w, t, id, line);
    e.id = id[0] != '\0' ? id : NULL;
    log_entry(&e);
    buf_init(&copy, LOG_LINE_MAX);
    if (w->config->is_warm && log_format(&copy, LOG_PLAIN, &e) == 0) {
        late_lines_add(&t->late, t->serial, copy.data, copy.len);
    }
    buf_fini(&copy);
}

/* -- dumps ----------------------------------------------------------------- */

/* An instance's own log is not where people look for a request of theirs. */
static void
tell_servers(void *arg, const char *lines, size_t n)
{
    struct watchdog *w = arg;

    for (unsigned i = 0; i < w->board->nthreads; i++) {
        struct watched *t = &w->threads[i];
        if (t->dumped != 0) {
            late_lines_add(&t->late, t->dumped, lines, n);
        }
    }
}

/* Every thread: is the dump that begins about its request? */
static void
begin_copy(struct watchdog *w, const struct watched *slow)
{
    for (unsigned i = 0; i < w->board->nthreads; i++) {
        struct watched *t = &w->threads[i];
        bool is_it = slow == NULL ? t->stage == STAGE_DUE : t == slow;
        t->dumped = is_it ? t->serial : 0;
    }
    if (w->config->is_warm) {
        stack_dump_copy_to(tell_servers, w);
    }
}

static void
name_thread(const struct watchdog *w, const struct watched *t, int64_t now)
{
    char line[SCORE_LINE] = "", wait[32] = "";
    int64_t age = now - t->since_ms;

    (void)score_line(score_of(w, t), line);
    if (t->wait != WAIT_NOT) {
        (void)snprintf(wait, sizeof wait, " (%s)", score_wait_name(t->wait));
    }
    stack_dump_name(t->id, atomic_load(&t->tid),
                    "thread %u of %u, in %s for %lld.%03lld s%s:",
                    (unsigned)(t - w->threads) + 1, w->board->nthreads, line,
                    (long long)(age / 1000), (long long)(age % 1000), wait);
}

/* waited: how much of the request's time does not count. */
static void
say_why(const struct watchdog *w, const struct watched *t, int64_t now,
        int64_t waited, const char *option)
{
    char line[SCORE_LINE], id[REQUEST_ID_MAX + 1], less[64] = "";
    int64_t age = now - t->since_ms - waited;

    describe(w, t, id, line);
    if (waited > 0) {
        (void)snprintf(less, sizeof less,
                       " (and waited %lld.%03lld s for its client)",
                       (long long)(waited / 1000), (long long)(waited % 1000));
    }
    stack_dump_say(id,
                   "%s: has run for %lld.%03lld s%s, longer than %s; stacks, "
                   "most recent call first:",
                   line, (long long)(age / 1000), (long long)(age % 1000), less,
                   option);
}

/* True where a dump has been begun. */
static bool
dump_all(struct watchdog *w, int64_t now, bool some_due)
{
    if (!stack_dump_prepare(some_due ? LOG_LEVEL_WARNING : LOG_LEVEL_NOTICE,
                            true, -1)) {
        return false;
    }
    for (unsigned i = 0; i < w->board->nthreads; i++) {
        if (w->threads[i].stage == STAGE_DUE) {
            say_why(w, &w->threads[i], now, 0, "--request-timeout");
        }
    }
    if (w->dump_wanted != NULL) {
        stack_dump_say("", "%s: stacks of all threads, most recent call first:",
                       w->dump_wanted);
    }
    for (unsigned i = 0; i < w->board->nthreads; i++) {
        if (w->threads[i].runs) {
            name_thread(w, &w->threads[i], now);
        }
    }
    w->dump_wanted = NULL;
    begin_copy(w, NULL);
    stack_dump_begin(now);
    return true;
}

static bool
dump_slow(struct watchdog *w, struct watched *t, int64_t now)
{
    int fd = logs_slow_fd();

    if (!stack_dump_prepare(LOG_LEVEL_WARNING, false, fd)) {
        return false;
    }
    if (fd < 0) {
        begin_copy(w, t);
    }
    say_why(w, t, now, t->waited_ms, "--slow");
    name_thread(w, t, now);
    stack_dump_begin(now);
    return true;
}

/* -- what is done about them ----------------------------------------------- */

static void
interrupt_again(const struct watchdog *w, struct watched *t, int64_t now)
{
    if (atomic_load(&t->cancel.told) == t->serial ||
        now - t->interrupted_ms < INTERRUPT_MS) {
        return;
    }
    t->interrupted_ms = now;
    if (t != w->threads || !interrupt_main_thread()) {
        interrupt_all_threads();
    }
}

static void
begin_to_end(struct watchdog *w, struct watched *t, int64_t now)
{
    assert(t->stage == STAGE_DUE && t->serial != 0);
    t->stage = STAGE_RAISED;
    t->raised_ms = now;
    t->interrupted_ms = now - INTERRUPT_MS;
    atomic_store(&t->cancel.serial, t->serial);
    interrupt_again(w, t, now);
}

static void
follow_up(struct watchdog *w, struct watched *t, int64_t now)
{
    if (t->stage == STAGE_RAISED && now - t->raised_ms < GRACE_MS) {
        interrupt_again(w, t, now);
    }
    else if (t->stage == STAGE_RAISED) {
        t->stage = STAGE_LOST;
        t->answered = false;
        atomic_store(&score_of(w, t)->lost_serial, t->serial);
        w->lost_ever++;
        say(w, t,
            w->is_replaced
                ? "does not end by --request-timeout; its process has "
                  "to go; a new one takes its place"
                : "does not end by --request-timeout; its process has "
                  "to go");
    }
    if (t->stage == STAGE_LOST && !t->answered) {
        t->answered = interrupt_answer(t->id, t->serial);
    }
}

static struct score_worker *
counts_of(const struct watchdog *w)
{
    return &w->board->workers[w->worker];
}

/* Requests that have just become overdue become DUE. */
static bool
mark_due(struct watchdog *w, int64_t now)
{
    int64_t limit = w->config->request_timeout_ms;
    bool some = false;

    for (unsigned i = 0; limit > 0 && i < w->board->nthreads; i++) {
        struct watched *t = &w->threads[i];
        if (t->runs && t->stage == STAGE_CALM && now - t->since_ms >= limit) {
            t->stage = STAGE_DUE;
            some = true;
            atomic_fetch_add(&counts_of(w)->timeouts, 1);
        }
    }
    return some;
}

/* A request that has just become slow, or NULL. One that is overdue as well is
 * in the dump for that. */
static struct watched *
mark_slow(struct watchdog *w, int64_t now)
{
    int64_t limit = w->config->slow_ms;

    for (unsigned i = 0; limit > 0 && i < w->board->nthreads; i++) {
        struct watched *t = &w->threads[i];
        if (t->runs && !t->slow_seen &&
            now - t->since_ms - t->waited_ms >= limit) {
            t->slow_seen = true;
            atomic_fetch_add(&counts_of(w)->slow, 1);
            if (t->stage == STAGE_CALM) {
                return t;
            }
        }
    }
    return NULL;
}

/* The stacks are in the log. */
static void
end_all_due(struct watchdog *w, int64_t now)
{
    for (unsigned i = 0; i < w->board->nthreads; i++) {
        if (w->threads[i].stage == STAGE_DUE) {
            begin_to_end(w, &w->threads[i], now);
        }
    }
}

static void
begin_dumps(struct watchdog *w, int64_t now)
{
    bool some_due = mark_due(w, now);
    struct watched *slow;

    if (some_due || w->dump_wanted != NULL) {
        w->dumping = dump_all(w, now, some_due);
        if (some_due && !w->dumping) {
            end_all_due(w, now); /* no dump is possible now */
        }
    }
    else if ((slow = mark_slow(w, now)) != NULL) {
        w->dumping = dump_slow(w, slow, now);
    }
}

static int64_t
sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* When to look at the thread again. A request may begin as soon as we have
 * looked. */
static int64_t
next_look(const struct watchdog *w, const struct watched *t, int64_t now)
{
    int64_t since = t->runs ? t->since_ms : now;
    int64_t next = now + IDLE_MS;

    if (t->runs && (t->stage == STAGE_RAISED || t->stage == STAGE_LOST)) {
        return now + INTERRUPT_MS;
    }
    if (w->config->request_timeout_ms > 0) {
        next = sooner(next, since + w->config->request_timeout_ms);
    }
    if (w->config->slow_ms > 0 && !(t->runs && t->slow_seen)) {
        int64_t due = since + w->config->slow_ms + (t->runs ? t->waited_ms : 0);
        bool is_held = t->runs && t->wait != WAIT_NOT && due < now + WAIT_MS;
        next = sooner(next, is_held ? now + WAIT_MS : due);
    }
    return next;
}

int
watchdog_run(struct watchdog *w, int64_t now_ms)
{
    int64_t next = now_ms + IDLE_MS;
    unsigned lost = 0;

    for (unsigned i = 0; i < w->board->nthreads; i++) {
        w->threads[i].runs = observe(w, &w->threads[i], now_ms);
    }
    if (w->dumping && stack_dump_work(now_ms)) {
        w->dumping = false;
        end_all_due(w, now_ms);
    }
    if (!w->dumping) {
        begin_dumps(w, now_ms);
    }
    for (unsigned i = 0; i < w->board->nthreads; i++) {
        struct watched *t = &w->threads[i];
        if (t->runs) {
            follow_up(w, t, now_ms);
        }
        lost += t->stage == STAGE_LOST;
        next = sooner(next, next_look(w, t, now_ms));
    }
    w->lost = lost;
    if (w->dumping || w->dump_wanted != NULL) {
        next = sooner(next, now_ms + (w->dumping ? DUMP_MS : INTERRUPT_MS));
    }
    return next <= now_ms ? 1 : (int)(next - now_ms);
}
