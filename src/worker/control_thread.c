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
#include "worker/graceful_stop.h"
#include "worker/rebalance.h"
#include "worker/request_threads.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* One a process. Its thread alone uses it until control_thread_join(). */
static struct control_thread {
    pthread_t id; /* the main thread's */
    struct graceful_stop stop;
    struct signals seen; /* signals that have been dealt with */
    int64_t begin_ms;    /* of the first round */
    int64_t load_end_ms; /* of a stop that waits for the code; 0 = none */
    int watch_ms;        /* when the watchdog wants to look again */
    bool serves;         /* requests may have been running in the last round */
    bool asked;          /* for new code, by a signal: still to be obeyed */
    struct restart restart;
    struct rebalance rebalance;
    struct imports_file *imports; /* still to be handed over */
    bool stuck; /* Python lets no thread in, and the log says so */
} control_thread;

/* Asked for the GIL now and then: does it come? */
static struct gil_task pulse;

enum {
    STOPPING_MS = 10 /* a round while the last requests run */
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

/* Clients have waited since the program before us: a stop is to find them served. */
static void
stop_when_loaded(struct pool *p, struct control_thread *t, int64_t now)
{
    if (t->load_end_ms == 0) {
        t->load_end_ms = now + p->s.config->graceful_timeout_ms;
    }
    if (now >= t->load_end_ms) {
        graceful_stop_end_now(
            &t->stop, p,
            "--graceful-timeout has passed while the code was loaded");
    }
}

static void
obey(struct pool *p, struct control_thread *t, int64_t now, struct signals s)
{
    bool started = atomic_load(&p->started);

    t->seen = s;
    if (s.stop != STOP_NONE) {
        restart_cancel(&t->restart);
        if (s.stop == STOP_NOW || (!started && !p->s.restarted)) {
            graceful_stop_end_now(&t->stop, p, NULL);
        }
        if (!started) {
            stop_when_loaded(p, t, now);
            return;
        }
        graceful_stop_cancel_restart(&t->stop);
    }
    if (s.stop == STOP_GRACEFUL && t->stop.end_ms == 0) {
        atomic_store(&p->s.board->workers[p->s.worker].state, SCORE_DRAINING);
        graceful_stop_begin(&t->stop, p, now, false);
    }
    if (t->stop.end_ms != 0 && now >= t->stop.end_ms) {
        graceful_stop_end_now(&t->stop, p, "--graceful-timeout has passed");
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
is_first_load(const struct pool *p, struct control_thread *t, int64_t now,
              unsigned needs_recycle)
{
    bool served = t->serves || needs_recycle > 0;

    t->serves = atomic_load(&p->started);
    return !served && now - t->begin_ms < scoreboard_load_limit(p->s.board);
}

/* A process without a master starts itself again; the others are replaced. */
static void
renew(struct pool *p, struct control_thread *t, int64_t now, unsigned reloads)
{
    unsigned needs_recycle = (atomic_load(&p->needs_recycle) ? 1u : 0u) +
                             watchdog_lost_ever(p->watchdog);
    /* Nobody serves: no new code can be worse. */
    bool all_lost = watchdog_lost(p->watchdog) == p->s.config->threads;

    bool is_asked = reloads != t->seen.reloads;

    t->asked = t->asked || is_asked;
    if (t->stop.end_ms != 0) {
        return;
    }
    if (is_first_load(p, t, now, needs_recycle)) {
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
    bool due = restart_is_due(&t->restart, p->s.config, now, t->asked,
                              needs_recycle) ||
               all_lost;
    t->asked = false;
    if (due) {
        restart_cancel(&t->restart);
        graceful_stop_begin(&t->stop, p, now, true);
    }
}

/* --reload=modules: who looks at the files has to know which. */
static void
hand_over_imports(struct pool *p, struct control_thread *t)
{
    if (t->imports == NULL && atomic_load(&p->started)) {
        t->imports = imports_take();
    }
    if (t->imports != NULL && p->s.imports_fd >= 0) {
        reload_pipe_send(p->s.imports_fd, &t->imports, 0);
        return;
    }
    while (t->imports != NULL) {
        file_watcher_add(&t->restart.watcher, t->imports->path,
                         t->imports->stamp);
        t->imports = imports_free(t->imports);
    }
}

static void
watch(struct pool *p, struct control_thread *t, int64_t now, unsigned dumps)
{
    if (dumps != t->seen.dumps && p->s.doctor == NULL) {
        watchdog_dump(p->watchdog);
    }
    t->watch_ms = watchdog_run(p->watchdog, now);
}

static void
do_nothing(void)
{
}

/* systemd's watchdog is fed while Python lets a thread in: a request may take as
 * long as it likes, but code that keeps the GIL stops all of them. (Until the
 * application is loaded that this thread runs has to do.) */
static void
feed_watchdog(struct pool *p, struct control_thread *t, int64_t now)
{
    if (!notify_watchdog_is_due(now)) {
        return;
    }
    if (gil_task_state(&pulse) != GIL_TASK_IDLE) {
        if (!t->stuck) {
            log_error(
                "an extension holds the GIL: no request can continue, and "
                "the systemd watchdog gets no keep-alive; stacks:");
            watchdog_dump(p->watchdog);
        }
        t->stuck = true;
        return;
    }
    t->stuck = false;
    notify_watchdog(now);
    if (p->s.doctor == NULL && atomic_load(&p->started) &&
        gil_task_begin(&pulse, do_nothing) < 0) {
        return; /* no thread to be had: asked the next time */
    }
}

static void
tell(struct pool *p, struct control_thread *t, int64_t now, struct signals s)
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
    else if (t->restart.new_code &&
             (t->restart.checker > 0 || t->stop.restart)) {
        state = NOTIFY_RELOADING;
    }
    notify_tell(state, s.reloads, p->s.board, now);
    feed_watchdog(p, t, now);
}

/* The requests that can end have ended. True: the process can do the rest, but
 * without the threads that are lost. */
static bool
is_over(struct control_thread *t, struct pool *p)
{
    unsigned lost = atomic_load(&p->lost);

    if (!atomic_load(&p->started) || atomic_load(&p->running) > lost) {
        return false;
    }
    if (lost > 0 && watchdog_is_lost(p->watchdog, 0)) {
        (void)request_threads_join(p);
        graceful_stop_end_now(&t->stop, p,
                              "--request-timeout could not end them");
    }
    return true;
}

/* Until the next round. Requests that wait for a thread are looked after in
 * between: for each of these looks a whole round would be dear. */
static void
wait_for_round(struct pool *p, struct control_thread *t, int timeout_ms,
               int control)
{
    int64_t now = clock_ms(), end = now + timeout_ms;
    bool is_due = false;

    while (!is_due) {
        int pause = rebalance_pause(&t->rebalance, now, (int)(end - now));
        is_due = signals_wait(pause, control, rebalance_fd(&t->rebalance, p));
        now = clock_ms();
        rebalance_run(&t->rebalance, p, now);
        is_due = is_due || now >= end;
    }
}

static void *
control_thread_main(void *arg)
{
    struct pool *p = arg;
    int interval = interval_of(p->s.config);
    struct control_thread *t = &control_thread;
    int control = p->s.control == NULL ? -1 : control_fd(p->s.control);

    t->begin_ms = clock_ms();
    t->watch_ms = 1; /* the watchdog says when it wants to look */
    restart_init(&t->restart, p->s.config);
    log_set_patience(0);
    for (;;) {
        int64_t now = clock_ms();
        bool stopping = t->stop.end_ms != 0 || t->load_end_ms != 0;
        int round =
            stopping ? STOPPING_MS : restart_pause(&t->restart, now, interval);
        wait_for_round(p, t, notify_wait_ms(now, least(t->watch_ms, round)),
                       control);
        now = clock_ms();
        struct signals s = signals_get();
        if (s.reloads != t->seen.reloads) {
            logs_reopen(); /* first: the reload has something to say */
        }
        watch(p, t, now, s.dumps);
        if (t->stop.end_ms != 0) {
            graceful_stop_abandon_lost(p);
        }
        if (is_over(t, p)) {
            break;
        }
        hand_over_imports(p, t);
        renew(p, t, now, s.reloads);
        tell(p, t, now, s);
        obey(p, t, now, s);
        /* Also while the last requests run: it would stay readable. */
        if (p->s.control != NULL) {
            control_run(p->s.control);
        }
        if (t->stop.end_ms != 0) {
            graceful_stop_go_on(&t->stop, p);
            continue;
        }
        worker_conns_resume(&p->conns);
        conn_passing_resume(&p->conns);
        conn_sweep(p->conns.table, now, SWEEP_OVERDUE);
        if (p->s.master_wake_fd < 0) {
            scoreboard_sample(p->s.board);
        }
    }
    restart_fini(&t->restart);
    while (t->imports != NULL) {
        t->imports = imports_free(t->imports);
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
    int e = pthread_create(&control_thread.id, NULL, control_thread_main, p);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return -e;
}

void
control_thread_join(struct graceful_stop *ret)
{
    (void)pthread_join(control_thread.id, NULL);
    *ret = control_thread.stop;
}
