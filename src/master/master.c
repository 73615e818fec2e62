#include "master/master.h"

#include "app/imports.h"
#include "app/loader.h"
#include "base/clock.h"
#include "master/master_drain.h"
#include "master/master_elastic.h"
#include "master/master_fork.h"
#include "master/master_reload.h"
#include "master/master_state.h"
#include "master/master_workers.h"
#include "master/master_zygotes.h"
#include "os/log.h"
#include "os/safe_path.h"
#include "process/logs.h"
#include "process/service_log.h"
#include "process/signals.h"
#include "reload/file_watcher.h"
#include "reload/reload_pipe.h"
#include "status/exit_idle.h"
#include "status/notify.h"
#include "status/running_requests.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    TICK_MS = 500,
    LOG_MS = 1000,    /* at most, to write one line of the log */
    STOPPING_MS = 100 /* a round while deadlines pass */
};

unsigned
master_slots(const struct config *config)
{
    return 2 * (config->processes + 8); /* of MIN-MAX, MAX */
}

/* -- workers that have ended ----------------------------------------------- */

/* One line that says why: signal or exit code, age, last request. */
static void
log_death(const struct master *m, unsigned i, int status)
{
    char line[SCORE_LINE] = "", how[64];
    char id[REQUEST_ID_MAX + 1], doing[SCORE_LINE + sizeof id + 48] = "";
    int64_t age = clock_ms() - atomic_load(&m->board->workers[i].started_ms);

    for (unsigned k = 0; k < m->board->nthreads; k++) {
        struct score_thread *t = scoreboard_thread(m->board, i, k);
        bool busy = atomic_load(&t->since_ms) != 0;
        if ((busy || doing[0] == '\0') && score_line(t, line) &&
            score_id(t, id)) {
            (void)snprintf(doing, sizeof doing, "; %s request: %s [%s]",
                           busy ? "running" : "last", line, id);
        }
    }
    log_error("worker %ld %s after %lld.%03lld s and %llu requests%s",
              (long)m->slots[i].pid,
              master_how_it_ended(status, how, sizeof how),
              (long long)(age / 1000), (long long)(age % 1000),
              atomic_load(&m->board->workers[i].requests), doing);
}

static void
reap_worker(struct master *m, unsigned i, int status)
{
    const struct slot *s = &m->slots[i];
    enum score_state state = worker_state(m, i);
    int64_t age = clock_ms() - atomic_load(&m->board->workers[i].started_ms);
    bool old_code = worker_generation(m, i) != m->generation;
    bool is_unloaded = false, is_death = !s->leaving;

    if (!s->leaving && !m->stopping) {
        bool no_load = WIFEXITED(status) &&
                       WEXITSTATUS(status) == EX_SOFTWARE &&
                       state == SCORE_STARTING;
        atomic_fetch_add(&m->board->deaths, 1);
        log_death(m, i, status);
        if (m->reloading && !old_code && no_load) {
            master_free_slot(m, i);
            master_give_up_reload(m);
            return;
        }
        is_unloaded = state == SCORE_STARTING && status != 0;
        master_back_off(m, state == SCORE_STARTING, age);
    }
    log_debug("worker %ld has ended", (long)m->slots[i].pid);
    master_free_slot(m, i);
    if (is_unloaded) {
        master_judge_unloaded(m);
    }
    if (is_death) {
        master_elastic_note_death(m);
    }
}

static void
reap_pid(struct master *m, pid_t pid, int status)
{
    struct zygote *z = zygote_table_of_pid(&m->zygotes, pid);

    if (z != NULL) {
        master_reap_zygote(m, z, status);
        return;
    }
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        if (m->slots[i].pid == pid) {
            reap_worker(m, i, status);
        }
    }
}

static void
reap(struct master *m)
{
    siginfo_t dead = {.si_pid = 0};
    int status;

    /* Messages are read first: a zygote may have reported this child just
     * now. */
    while (waitid(P_ALL, 0, &dead, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           dead.si_pid != 0) {
        master_read_messages(m);
        if (waitpid(dead.si_pid, &status, WNOHANG) == dead.si_pid) {
            reap_pid(m, dead.si_pid, status);
        }
        dead.si_pid = 0;
    }
}

/* -- how many workers ------------------------------------------------------ */

/* True also where none is needed. */
static bool
has_healthy_zygote(struct master *m, int64_t now)
{
    const struct zygote *z = master_current_zygote(m);

    return !m->s->config->preload || (z != NULL && zygote_is_able(z) &&
                                      now - z->started_ms >= MASTER_HEALTHY_MS);
}

/* The new code is loaded. Where no worker was wanted, the one that has tried it
 * becomes idle. */
static void
end_reload(struct master *m, bool is_broken)
{
    m->reloading = false;
    m->target = m->target > 0 ? m->target : 1;
    if (!is_broken) {
        atomic_fetch_add(&m->board->reloads, 1);
        log_notice("the new code is loaded");
    }
}

/* How many there may be: one tries new code in any case. */
static unsigned
most_workers(const struct master *m)
{
    return m->reloading && m->target == 0 ? 1 : m->target;
}

/* Brings the workers of the present code to the number that there should be.
 * The others leave as soon as enough are ready to do without them. */
static void
reconcile(struct master *m, int64_t now)
{
    struct worker_counts c = master_count_workers(m);
    int slot;

    if (m->reloading && c.ready > 0) {
        end_reload(m, c.ready == c.broken);
    }
    if (c.ready >= m->target && c.ready > 0 && has_healthy_zygote(m, now)) {
        m->early_deaths = 0;
    }
    for (; c.serving > most_workers(m); c.serving--) {
        master_dismiss_one(m);
    }
    c = master_count_workers(m);
    while (c.current > most_workers(m) && c.serving <= most_workers(m)) {
        master_dismiss_one(m); /* TTOU while some are starting */
        c.current--;
    }
    if (m->reloading) {
        master_watch_reload(m, c.old, now);
        c = master_count_workers(m);
    }
    if (m->reloading) {
        c.old = master_replace_old(m, c.old, now);
    }
    while (c.current < master_wanted_workers(m, c.old) &&
           now >= m->not_before && master_can_fork(m) &&
           (slot = master_take_slot(m)) >= 0) {
        master_fork_worker(m, (unsigned)slot);
        if (m->role != ROLE_MASTER) {
            return;
        }
        c.current++;
    }
    if (m->s->config->preload) {
        master_update_zygotes(m, now);
    }
}

/* -- signals --------------------------------------------------------------- */

/* Nobody can connect any more. The workers serve those that have connected. */
static void
begin_stop(struct master *m, int64_t now, enum signals_stop how)
{
    log_set_patience(0);
    if (how == STOP_GRACEFUL) {
        running_requests_log_wait(m->board, m->s->config->graceful_timeout_ms);
    }
    m->stopping = true;
    m->stop_end = now + m->s->config->graceful_timeout_ms;
    for (size_t i = 0; i < m->s->nlisteners; i++) {
        listener_unlink(&m->s->listeners[i]);
    }
    atomic_store(&m->board->stopping, true);
}

/* As a signal asks for it, or because of --need-app. */
static void
stop(struct master *m, int64_t now, enum signals_stop how)
{
    if (!m->stopping) {
        begin_stop(m, now, how);
    }
    master_stop_zygotes(m, how == STOP_NOW);
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        if (!slot_is_free(&m->slots[i])) {
            master_dismiss_worker(m, i, how == STOP_NOW ? SIGQUIT : SIGTERM);
        }
    }
}

/* HUP and USR1. Workers and zygotes get HUP for both, and open their logs again,
 * no more: an application may have a use of its own for USR1, such as
 * faulthandler.register(). */
static void
reopen_logs(struct master *m, struct signals s)
{
    bool is_only_that = s.reopens != m->seen.reopens;

    if (s.reloads != m->seen.reloads || is_only_that) {
        logs_reopen(is_only_that ? "SIGUSR1" : NULL);
        master_signal_workers(m, SIGHUP);
        master_signal_zygotes(m, SIGHUP);
    }
}

static void
obey(struct master *m, int64_t now)
{
    struct signals s = signals_get();

    reopen_logs(m, s);
    if (s.stop != STOP_NONE && s.stop != m->seen.stop) {
        stop(m, now, s.stop);
    }
    if (m->status != 0 && !m->stopping) {
        stop(m, now, STOP_GRACEFUL);
    }
    if (!m->stopping) {
        master_consider_reload(m, now, s.reloads != m->seen.reloads);
        master_elastic_change(m, s.more - m->seen.more, s.less - m->seen.less);
    }
    if (s.dumps != m->seen.dumps) {
        master_signal_workers(m, SIGUSR2);
    }
    m->seen = s;
}

/* -- all of it ------------------------------------------------------------- */

static bool
old_code_serves(const struct master *m)
{
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        if (m->slots[i].pid != 0 && state_is_serving(worker_state(m, i)) &&
            worker_generation(m, i) != m->generation) {
            return true;
        }
    }
    return false;
}

/* Tells systemd. Its watchdog watches this loop and nothing else: the master
 * itself replaces a worker that hangs or dies. */
static void
tell(struct master *m, int64_t now)
{
    if (!notify_is_on()) {
        return;
    }
    if (m->stopping) {
        m->notified = NOTIFY_STOPPING;
    }
    else if (m->notified != NOTIFY_STARTING &&
             (m->reloading || old_code_serves(m))) {
        m->notified = NOTIFY_RELOADING; /* not before the start is over */
    }
    else if (master_count_workers(m).serving > 0 || master_elastic_sleeps(m)) {
        m->notified = NOTIFY_READY; /* also after all of them have died */
    }
    notify_tell(m->notified, m->seen.reloads, m->board, now);
    if (notify_watchdog_is_due(now)) {
        notify_watchdog(now);
    }
}

/* --exit-idle. Before the first worker is there, nobody knows what waits. But
 * where workers die at their start, or cannot be forked, nobody ever will. An
 * instance that has used up much of its processor time ends while it has enough
 * for that: the next request starts another. */
static void
consider_end(struct master *m, int64_t now)
{
    bool has_failed = m->early_deaths > 0 || now < m->not_before;

    if (master_count_workers(m).serving == 0 && !master_elastic_sleeps(m) &&
        !has_failed) {
        m->idle.since_ms = now;
    }
    if (exit_idle_is_due(&m->idle, m->board, m->s->config->exit_idle_ms, now)) {
        m->end_reason = EXIT_IDLE_REASON;
    }
    else if (cpu_limit_is_half_used(&m->cpu)) {
        m->end_reason = "the master has used half of its time (RLIMIT_CPU)";
    }
    if (m->end_reason != NULL) {
        stop(m, now, STOP_GRACEFUL);
    }
}

/* How long to wait for the next round. */
static int
pause_of(const struct master *m, int64_t now)
{
    int wait = m->stopping ? STOPPING_MS : TICK_MS;

    if (m->not_before > now && m->not_before - now < wait) {
        wait = (int)(m->not_before - now);
    }
    if (!m->stopping) {
        wait = file_watcher_pause(&m->watcher, now, wait);
        wait = master_elastic_pause(m, now, wait);
        wait = exit_idle_pause(&m->idle, m->s->config->exit_idle_ms, now, wait);
    }
    return notify_wait_ms(now, wait);
}

static void
loop(struct master *m)
{
    int control = m->s->control == NULL ? -1 : control_fd(m->s->control);

    log_set_patience(LOG_MS);
    service_log_started(m->s->config, m->s->listeners, m->s->nlisteners);
    for (;;) {
        int64_t now = clock_ms();
        reap(m);
        master_read_messages(m);
        obey(m, now);
        tell(m, now);
        if (m->stopping) {
            if (master_count_workers(m).alive == 0 &&
                master_dismiss_zygotes(m) &&
                (!master_drain(m, now) || m->role != ROLE_MASTER)) {
                return;
            }
        }
        else {
            master_elastic_run(m, now);
            reconcile(m, now);
            if (m->role != ROLE_MASTER) {
                return;
            }
            consider_end(m, now);
        }
        master_kill_overdue(m, now);
        master_watch_zygotes(m, now);
        scoreboard_sample(m->board, m->s->listeners, m->s->nlisteners);
        logs_limit(now);
        if (m->s->control != NULL) {
            control_run(m->s->control);
        }
        (void)signals_wait(pause_of(m, now), control,
                           m->stopping ? -1 : master_elastic_fd(m));
    }
}

static int
set_up(struct master *m)
{
    const struct config *c = m->s->config;

    m->board = m->s->board;
    m->slots = calloc(m->board->nworkers, sizeof *m->slots);
    if (m->slots == NULL || signals_open(true) < 0) {
        log_error("out of memory");
        return EX_OSERR;
    }
    master_elastic_begin(m);
    if (c->is_warm) {
        cpu_limit_open(&m->cpu, 1);
    }
    m->generation = 1;
    file_watcher_init(&m->watcher, c, loader_script());
    if (imports_matter(c)) {
        if (reload_pipe_open(&m->imports) < 0) {
            log_error("out of descriptors: raise ulimit -n");
            return EX_OSERR;
        }
        m->s->imports_fd = m->imports.write_fd;
    }
    if (c->preload && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        log_error("--preload: %s", strerror(errno));
        return EX_OSERR;
    }
    return 0;
}

int
master_run(struct worker_setup *setup)
{
    struct master m = {.s = setup,
                       .elastic = {.watch_fd = -1},
                       .imports = {.read_fd = -1, .write_fd = -1}};
    int status = set_up(&m);

    if (status == 0) {
        loop(&m);
        assert(m.role != ROLE_MASTER || m.stopping);
        status = m.status;
    }
    else {
        safe_path_hide_left();
    }
    free(m.slots);
    master_elastic_end(&m);
    file_watcher_fini(&m.watcher);
    buf_fini(&m.imports.rest);
    if (m.role != ROLE_MASTER) {
        return m.role == ROLE_WORKER ? MASTER_IS_WORKER : m.status;
    }
    for (size_t i = 0; i < setup->nlisteners; i++) {
        listener_close(&setup->listeners[i], true);
    }
    if (status == 0) {
        logs_remove_own(); /* before somebody sees that there is no instance */
    }
    control_close(&setup->control);
    reload_pipe_close(&m.imports);
    service_log_stopped(m.board, status != 0 ? "the application does not load"
                                             : m.end_reason);
    scoreboard_free(&m.board);
    return status;
}
