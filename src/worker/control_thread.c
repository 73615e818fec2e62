#include "worker/control_thread.h"

#include "base/clock.h"
#include "os/log.h"
#include "process/logs.h"
#include "process/signals.h"
#include "python/gil_task.h"
#include "reload/reload_pipe.h"
#include "reload/restart.h"
#include "status/notify.h"
#include "worker/conn_passing.h"
#include "worker/rebalance.h"
#include "worker/request_threads.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* What it remembers from one round to the next. */
struct round {
    struct signals seen; /* signals that have been dealt with */
    int64_t begin_ms;    /* of the first one */
    int64_t load_end_ms; /* of a stop that waits for the code; 0 = none */
    int watch_ms;        /* when the watchdog wants to look again */
    bool serves;         /* requests may have been running in the last one */
    bool asked;          /* for new code, by a signal: still to be obeyed */
    struct restart restart;
    struct rebalance rebalance;
    struct imports_file *imports; /* still to be handed over */
    bool stuck; /* Python lets nobody in, and the log says so */
};

/* Asked for the GIL now and then: does it come? */
static struct gil_task pulse;

enum {
    STOPPING_MS = 10, /* a round while the last requests run */
    LAST_MS = 500     /* for the end of Python, however late it begins */
};

static int
least(int a, int b)
{
    return a < b ? a : b;
}

/* A quarter of the shortest time-out, so that none is much overdue. */
static int
interval_of(const struct config *c)
{
    const int64_t timeouts[] = {c->head_timeout_ms, c->keepalive_timeout_ms,
                                c->body_timeout_ms};
    int64_t shortest = 4000;

    for (size_t i = 0; i < ARRAY_SIZE(timeouts); i++) {
        shortest = timeouts[i] < shortest ? timeouts[i] : shortest;
    }
    return shortest < 80 ? 20 : (int)(shortest / 4);
}

/* True where threads are busy, and none of them with a request. */
static bool
is_only_work_after(const struct pool *p)
{
    bool is_after = false;

    for (unsigned i = 0; i < p->s.config->threads; i++) {
        const struct score_thread *t =
            scoreboard_thread(p->s.board, p->s.worker, i);
        if (atomic_load(&t->since_ms) != 0) {
            return false;
        }
        is_after = is_after || atomic_load(&t->after_ms) != 0;
    }
    return is_after;
}

/* Whoever started us must not see us end: the new code takes over all the same.
 * Returns where it cannot, or a stop has come. */
static void
start_again(struct pool *p)
{
    if (atomic_load(&p->restart) && signals_get().stop != STOP_NOW) {
        int e = pool_restart(p);
        log_error("starting again: %s", strerror(-e));
    }
}

/* The end that does not wait for the application. */
static void
end_now(struct pool *p, const char *why)
{
    if (why != NULL && is_only_work_after(p)) {
        log_warning("%s: work after a response is cut off", why);
    }
    else if (why != NULL && conn_table_open(p->conns.table) > 0) {
        log_warning("%s: requests that still run are cut off", why);
    }
    start_again(p);
    pool_close(p);
    _exit(EX_OK);
}

/* Clients have waited since the program before us: a stop is to find them served. */
static void
stop_when_loaded(struct pool *p, struct round *r, int64_t now)
{
    if (r->load_end_ms == 0) {
        r->load_end_ms = now + p->s.config->graceful_timeout_ms;
    }
    if (now >= r->load_end_ms) {
        end_now(p, "--graceful-timeout has passed while the code was loaded");
    }
}

static void
obey(struct pool *p, struct round *r, int64_t now, struct signals s)
{
    bool started = atomic_load(&p->started);

    r->seen = s;
    if (s.stop != STOP_NONE) {
        restart_cancel(&r->restart);
        if (s.stop == STOP_NOW || (!started && !p->s.restarted)) {
            end_now(p, NULL);
        }
        if (!started) {
            stop_when_loaded(p, r, now);
            return;
        }
        if (atomic_exchange(&p->restart, false)) {
            /* A stop is for good, also for who waits to connect. */
            p->end_ms = 0;
        }
    }
    if (s.stop == STOP_GRACEFUL && p->end_ms == 0) {
        p->end_ms = now + p->s.config->graceful_timeout_ms;
        atomic_store(&p->s.board->workers[p->s.worker].state, SCORE_DRAINING);
        pool_stop(p);
    }
    if (p->end_ms != 0 && now >= p->end_ms) {
        end_now(p, "--graceful-timeout has passed");
    }
}

/* One that serves error pages may have lost a thread, too. */
static void
ask_for_replacement(struct pool *p)
{
    struct score_worker *w = &p->s.board->workers[p->s.worker];
    enum score_state s = atomic_load(&w->state);
    const uint64_t one = 1;

    if ((s == SCORE_READY || s == SCORE_BROKEN) &&
        atomic_compare_exchange_strong(&w->state, &s, SCORE_RECYCLE) &&
        write(p->s.master_wake_fd, &one, sizeof one) < 0) {
        return; /* full: it will look */
    }
}

/* Nobody serves: the load that is under way is let finish, or new code asked for
 * faster than it loads would keep all waiting for ever. What hangs does not count,
 * and who is needs_recycle out has served. (In the first round after it systemd is told that
 * we are ready.) */
static bool
is_first_load(const struct pool *p, struct round *r, int64_t now,
              unsigned needs_recycle)
{
    bool served = r->serves || needs_recycle > 0;

    r->serves = atomic_load(&p->started);
    return !served && now - r->begin_ms < scoreboard_load_limit(p->s.board);
}

/* A process without a master starts itself again; the others are replaced. */
static void
renew(struct pool *p, struct round *r, int64_t now, unsigned reloads)
{
    unsigned needs_recycle =
        (atomic_load(&p->needs_recycle) ? 1u : 0u) + p->watchdog.lost_ever;
    /* Nobody serves: no new code can be worse. */
    bool all_lost = p->watchdog.lost == p->s.config->threads;

    bool is_asked = reloads != r->seen.reloads;

    r->asked = r->asked || is_asked;
    if (p->end_ms != 0) {
        return;
    }
    if (is_first_load(p, r, now, needs_recycle)) {
        if (is_asked && p->s.master_wake_fd < 0) {
            log_notice("SIGHUP: nobody serves yet: the load that is under way "
                       "comes first");
        }
        return;
    }
    if (p->s.master_wake_fd >= 0) {
        if (needs_recycle > 0) {
            ask_for_replacement(p);
        }
        return;
    }
    bool due = restart_is_due(&r->restart, p->s.config, now, r->asked,
                              needs_recycle) ||
               all_lost;
    r->asked = false;
    if (due) {
        restart_cancel(&r->restart);
        p->end_ms = now + p->s.config->graceful_timeout_ms;
        atomic_store(&p->restart, true);
        pool_stop(p);
    }
}

/* --reload=modules: who looks at the files has to know which. */
static void
hand_over_imports(struct pool *p, struct round *r)
{
    if (r->imports == NULL && atomic_load(&p->started)) {
        r->imports = imports_take();
    }
    if (r->imports != NULL && p->s.imports_fd >= 0) {
        reload_pipe_send(p->s.imports_fd, &r->imports, 0);
        return;
    }
    while (r->imports != NULL) {
        file_watcher_add(&r->restart.watcher, r->imports->path,
                         r->imports->stamp);
        r->imports = imports_free(r->imports);
    }
}

static void
watch(struct pool *p, struct round *r, int64_t now, unsigned dumps)
{
    if (dumps != r->seen.dumps && p->s.doctor == NULL) {
        watchdog_dump(&p->watchdog);
    }
    r->watch_ms = watchdog_run(&p->watchdog, now);
}

static void
do_nothing(void)
{
}

/* systemd's watchdog is fed while Python lets a thread in: a request may take as
 * long as it likes, but code that keeps the GIL stops all of them. (Until the
 * application is loaded that this thread runs has to do.) */
static void
feed_watchdog(struct pool *p, struct round *r, int64_t now)
{
    if (!notify_watchdog_is_due(now)) {
        return;
    }
    if (gil_task_state(&pulse) != GIL_TASK_IDLE) {
        if (!r->stuck) {
            log_error(
                "an extension holds the GIL: no request can continue, and "
                "the systemd watchdog gets no keep-alive; stacks:");
            watchdog_dump(&p->watchdog);
        }
        r->stuck = true;
        return;
    }
    r->stuck = false;
    notify_watchdog(now);
    if (p->s.doctor == NULL && atomic_load(&p->started) &&
        gil_task_begin(&pulse, do_nothing) < 0) {
        return; /* no thread to be had: asked the next time */
    }
}

static void
tell(struct pool *p, struct round *r, int64_t now, struct signals s)
{
    enum notify_state state = NOTIFY_READY;

    if (!notify_is_on()) {
        return;
    }
    if (s.stop != STOP_NONE) {
        state = NOTIFY_STOPPING;
    }
    else if (!atomic_load(&p->started)) {
        state = NOTIFY_STARTING;
    }
    else if (r->restart.new_code &&
             (r->restart.checker > 0 || atomic_load(&p->restart))) {
        state = NOTIFY_RELOADING;
    }
    notify_tell(state, s.reloads, p->s.board, now);
    feed_watchdog(p, r, now);
}

/* The requests that can end have ended. True: the process can do the rest, but
 * without the threads that are lost. */
static bool
is_over(struct pool *p)
{
    unsigned lost = atomic_load(&p->lost);

    if (!atomic_load(&p->started) || atomic_load(&p->running) > lost) {
        return false;
    }
    if (lost > 0 && watchdog_is_lost(&p->watchdog, 0)) {
        (void)request_threads_join(p);
        end_now(p, "--request-timeout could not end them");
    }
    return true;
}

/* Until the next round. Requests that wait for a thread are looked after in
 * between: for each of these looks a whole round would be dear. */
static void
wait_for_round(struct pool *p, struct round *r, int timeout_ms, int control)
{
    int64_t now = clock_ms(), end = now + timeout_ms;
    bool is_due = false;

    while (!is_due) {
        int pause = rebalance_pause(&r->rebalance, now, (int)(end - now));
        is_due = signals_wait(pause, control, rebalance_fd(&r->rebalance, p));
        now = clock_ms();
        rebalance_run(&r->rebalance, p, now);
        is_due = is_due || now >= end;
    }
}

static void *
control_thread_main(void *arg)
{
    struct pool *p = arg;
    int interval = interval_of(p->s.config);
    struct round r = {.begin_ms = clock_ms(),
                      .watch_ms = 1}; /* it says when it wants to look */
    int control = p->s.control == NULL ? -1 : control_fd(p->s.control);

    restart_init(&r.restart, p->s.config);
    log_set_patience(0);
    for (;;) {
        int64_t now = clock_ms();
        bool stopping = p->end_ms != 0 || r.load_end_ms != 0;
        int round =
            stopping ? STOPPING_MS : restart_pause(&r.restart, now, interval);
        wait_for_round(p, &r, notify_wait_ms(now, least(r.watch_ms, round)),
                       control);
        now = clock_ms();
        struct signals s = signals_get();
        if (s.reloads != r.seen.reloads) {
            logs_reopen(); /* first: the reload has something to say */
        }
        watch(p, &r, now, s.dumps);
        if (p->end_ms != 0) {
            pool_abandon_lost(p);
        }
        if (is_over(p)) {
            break;
        }
        hand_over_imports(p, &r);
        renew(p, &r, now, s.reloads);
        tell(p, &r, now, s);
        obey(p, &r, now, s);
        /* Also while the last requests run: it would stay readable. */
        if (p->s.control != NULL) {
            control_run(p->s.control);
        }
        if (p->end_ms != 0) {
            pool_finish(p);
            continue;
        }
        worker_conns_resume(&p->conns);
        conn_passing_resume(&p->conns);
        conn_sweep(p->conns.table, now, SWEEP_OVERDUE);
        if (p->s.master_wake_fd < 0) {
            scoreboard_sample(p->s.board);
        }
    }
    restart_fini(&r.restart);
    while (r.imports != NULL) {
        r.imports = imports_free(r.imports);
    }
    return NULL;
}

int
control_thread_start(struct pool *p)
{
    sigset_t all, old;

    /* Signals are for threads whose system calls they may interrupt. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(&p->control_thread, NULL, control_thread_main, p);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return -e;
}

void
control_thread_join(struct pool *p)
{
    (void)pthread_join(p->control_thread, NULL);
}

/* What the guard has to know. */
static struct {
    int64_t end_ms; /* clock_ms() */
    struct pool *pool;
    int status;
    atomic_bool is_over; /* Python has ended in time */
} guarded;

static void *
guard_main(UNUSED void *arg)
{
    log_set_patience(0);
    while (!atomic_load(&guarded.is_over) && clock_ms() < guarded.end_ms &&
           signals_get().stop != STOP_NOW) {
        int64_t now = clock_ms();
        int64_t left = guarded.end_ms - now;
        int wait = left < 0 ? 0 : left > 1000 ? 1000 : (int)left;
        (void)signals_wait(notify_wait_ms(now, wait), -1, -1);
        if (notify_watchdog_is_due(now)) {
            notify_watchdog(now); /* this thread sees to it that it ends */
        }
    }
    if (atomic_load(&guarded.is_over)) {
        return NULL;
    }
    log_warning("threads of the application have not ended: left behind");
    if (guarded.pool != NULL) {
        start_again(guarded.pool);
        pool_close(guarded.pool);
    }
    _exit(guarded.status);
}

int64_t
control_thread_end_ms(const struct pool *p)
{
    int64_t now = clock_ms();

    if (p->end_ms == 0) { /* nobody has asked for the end */
        return now + p->s.config->graceful_timeout_ms;
    }
    return p->end_ms > now + LAST_MS ? p->end_ms : now + LAST_MS;
}

void
control_thread_guard_end(int64_t end_ms, struct pool *p, int status)
{
    sigset_t all, old;
    pthread_t id;

    guarded.end_ms = end_ms;
    guarded.pool = p;
    guarded.status = status;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    if (pthread_create(&id, NULL, guard_main, NULL) == 0) {
        (void)pthread_detach(id);
    }
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void
control_thread_guard_over(void)
{
    atomic_store(&guarded.is_over, true);
}
