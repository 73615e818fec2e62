#include "master/master.h"

#include "app/loader.h"
#include "base/clock.h"
#include "base/signal_name.h"
#include "master/master_state.h"
#include "os/fd.h"
#include "os/log.h"
#include "process/logs.h"
#include "process/signals.h"
#include "reload/file_watcher.h"
#include "reload/reload_pipe.h"
#include "status/notify.h"

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
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MAX_MS = 10000,
    HEALTHY_MS = 5000, /* a worker that lived so long did not die at start */
    LOG_MS = 1000,     /* for a line of the log, where its reader is stuck */
    STOPPING_MS = 100  /* a round while deadlines pass */
};

unsigned
master_slots(const struct config *config)
{
    return 2 * (config->processes + 8);
}

static enum score_state
state_of(const struct master *m, unsigned i)
{
    return atomic_load(&m->board->workers[i].state);
}

static unsigned
generation_of(const struct master *m, unsigned i)
{
    return atomic_load(&m->board->workers[i].generation);
}

static bool
is_serving(enum score_state s)
{
    return s == SCORE_READY || s == SCORE_BROKEN || s == SCORE_RECYCLE;
}

bool
master_has_ready_workers(struct scoreboard *b)
{
    for (unsigned i = 0; i < b->nworkers; i++) {
        enum score_state s = atomic_load(&b->workers[i].state);
        if (s == SCORE_READY || s == SCORE_RECYCLE) {
            return true;
        }
    }
    return false;
}

/* -- births and deaths ---------------------------------------------------------------- */

void
master_leave(struct master *m)
{
    log_set_patience(-1);
    m->s->master_wake_fd = signals_keep_wake_fd();
    control_forget(&m->s->control);
    notify_forget();
    fd_close(&m->told.read_fd);
    zygote_table_forget(&m->zygotes);
}

void
master_become_worker(struct master *m, unsigned i, pid_t master_pid)
{
    m->role = ROLE_WORKER;
    m->s->worker = i;
    atomic_store(&m->board->workers[i].pid, getpid());
    /* Without a master nobody would ever stop it. */
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != master_pid) {
        (void)raise(SIGTERM);
    }
}

void
master_pause_forks(struct master *m, int err)
{
    log_error("a worker cannot be forked: %s", strerror(err));
    m->not_before = clock_ms() + 1000;
}

void
master_free_slot(struct master *m, unsigned i)
{
    m->slots[i] = (struct slot){.pid = 0};
    scoreboard_release(m->board, i);
}

static void
fork_worker(struct master *m, unsigned i)
{
    pid_t me = getpid();

    /* In the child they wait for its own signals_open(): a TERM before that would
     * be the master's, and forgotten. */
    signals_hold();
    pid_t pid = fork();
    int err = errno;
    if (pid != 0) {
        signals_release();
    }
    if (pid == 0) {
        master_leave(m);
        master_become_worker(m, i, me);
        return;
    }
    if (pid < 0) {
        master_free_slot(m, i);
        master_pause_forks(m, err);
        return;
    }
    atomic_store(&m->board->workers[i].pid, pid);
    m->slots[i] = (struct slot){.pid = pid};
    log_debug("worker %ld is forked", (long)pid);
}

static void
ask_for_worker(struct master *m, const struct zygote *z, unsigned i)
{
    int e = zygote_ask(z, i);

    if (e < 0) {
        master_free_slot(m, i);
        master_pause_forks(m, -e);
        return;
    }
    m->slots[i] = (struct slot){.zygote_pid = z->pid};
}

static bool
can_spawn(struct master *m)
{
    const struct zygote *z = master_zygote(m);

    return !m->s->config->preload || (z != NULL && zygote_is_able(z));
}

static void
spawn(struct master *m, unsigned i)
{
    scoreboard_take(m->board, i, 0, m->generation);
    if (m->s->config->preload) {
        ask_for_worker(m, master_zygote(m), i);
    }
    else {
        fork_worker(m, i);
    }
}

static void
tell_to_leave(struct master *m, unsigned i, int signal_number)
{
    struct slot *s = &m->slots[i];
    int64_t kill_at = clock_ms() + KILL_AFTER_MS;

    if (s->leaving && signal_number == SIGTERM) {
        return; /* a second TERM would cut its requests off */
    }
    if (signal_number == SIGTERM) {
        kill_at += m->s->config->graceful_timeout_ms;
    }
    if (!s->leaving || kill_at < s->kill_at) {
        s->leaving = true;
        s->kill_at = kill_at;
    }
    if (slot_is_unborn(s)) {
        s->pending_signal = signal_number;
        return;
    }
    (void)kill(s->pid, signal_number);
}

const char *
master_how_it_ended(int status, char *to, size_t size)
{
    if (WIFSIGNALED(status)) {
        char name[SIGNAL_NAME_SIZE];
        (void)snprintf(to, size, "was killed by signal %d (%s)%s",
                       WTERMSIG(status), signal_name(WTERMSIG(status), name),
                       WCOREDUMP(status) ? ", core dumped" : "");
    }
    else {
        (void)snprintf(to, size, "exited with code %d", WEXITSTATUS(status));
    }
    return to;
}

/* One line for whoever looks why: signal or exit code, age, last request. */
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
give_up_reload(struct master *m)
{
    struct zygote *former = zygote_table_former(&m->zygotes, m->generation);
    struct zygote *failed = master_zygote(m);

    if (failed != NULL) {
        master_dismiss_zygote(m, failed);
    }
    if (former != NULL) {
        former->generation = m->generation;
    }
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        struct score_worker *w = &m->board->workers[i];
        if (slot_is_free(&m->slots[i])) {
            continue;
        }
        if (generation_of(m, i) == m->generation) {
            tell_to_leave(m, i, SIGKILL);
        }
        else if (!m->slots[i].leaving) {
            /* They are the present again. */
            atomic_store(&w->generation, m->generation);
        }
    }
    m->reloading = false;
}

void
master_give_up_reload(struct master *m)
{
    log_error("the new code does not load (see above); the old one goes on");
    give_up_reload(m);
}

void
master_back_off(struct master *m, bool at_start, int64_t age_ms)
{
    unsigned k = m->early_deaths < 7 ? m->early_deaths : 7;
    int64_t wait = (int64_t)BACKOFF_FIRST_MS << k;

    if (at_start || age_ms < HEALTHY_MS) {
        m->early_deaths++;
        m->not_before =
            clock_ms() + (wait < BACKOFF_MAX_MS ? wait : BACKOFF_MAX_MS);
    }
}

static void
reap_worker(struct master *m, unsigned i, int status)
{
    struct slot *s = &m->slots[i];
    enum score_state state = state_of(m, i);
    int64_t age = clock_ms() - atomic_load(&m->board->workers[i].started_ms);
    bool old_code = generation_of(m, i) != m->generation;

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
        master_back_off(m, state == SCORE_STARTING, age);
    }
    log_debug("worker %ld has ended", (long)m->slots[i].pid);
    master_free_slot(m, i);
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

    /* Looked at first: whose death it is may have been said in between. */
    while (waitid(P_ALL, 0, &dead, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           dead.si_pid != 0) {
        master_read_messages(m);
        if (waitpid(dead.si_pid, &status, WNOHANG) == dead.si_pid) {
            reap_pid(m, dead.si_pid, status);
        }
        dead.si_pid = 0;
    }
}

/* -- towards what should be --------------------------------------------------------------- */

struct census {
    unsigned current; /* of this generation, starting or serving, staying */
    unsigned old;     /* of older ones, the same */
    unsigned serving; /* all that serve and stay */
    unsigned ready;  /* of them, of this generation and not needs_recycle out */
    unsigned broken; /* of those, with error pages only */
    unsigned alive;
};

static struct census
count(const struct master *m)
{
    struct census c = {0};

    for (unsigned i = 0; i < m->board->nworkers; i++) {
        enum score_state s = state_of(m, i);
        if (slot_is_free(&m->slots[i])) {
            continue;
        }
        c.alive++;
        if (m->slots[i].leaving) {
            continue;
        }
        bool current =
            generation_of(m, i) == m->generation && s != SCORE_RECYCLE;
        c.current += current;
        c.old += generation_of(m, i) != m->generation;
        c.serving += is_serving(s);
        c.ready += current && is_serving(s);
        c.broken += current && s == SCORE_BROKEN;
    }
    return c;
}

/* Old code first, then the needs_recycle out, then (after TTOU) anyone. */
static int
rank(const struct master *m, unsigned i)
{
    if (slot_is_free(&m->slots[i]) || m->slots[i].leaving) {
        return 0;
    }
    if (generation_of(m, i) != m->generation) {
        return 3;
    }
    return state_of(m, i) == SCORE_RECYCLE ? 2 : 1;
}

static void
dismiss_one(struct master *m)
{
    unsigned who = 0;
    int best = 0;

    for (unsigned i = 0; i < m->board->nworkers; i++) {
        if (rank(m, i) > best) {
            best = rank(m, i);
            who = i;
        }
    }
    if (best > 0) {
        tell_to_leave(m, who, SIGTERM);
    }
}

static int
find_slot(const struct master *m)
{
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        if (slot_is_free(&m->slots[i])) {
            return (int)i;
        }
    }
    return -1;
}

/* -1 until one of those that leave has gone. */
static int
take_slot(struct master *m)
{
    int slot = find_slot(m);

    if (slot < 0 && !m->lacks_slot) {
        log_warning("no new worker until one that still finishes requests has "
                    "ended: there are %u",
                    m->board->nworkers);
    }
    m->lacks_slot = slot < 0;
    return slot;
}

/* Or needs none. */
static bool
has_healthy_zygote(struct master *m, int64_t now)
{
    const struct zygote *z = master_zygote(m);

    return !m->s->config->preload || (z != NULL && zygote_is_able(z) &&
                                      now - z->started_ms >= HEALTHY_MS);
}

/* New code may take long to load, or for ever: until then the former zygote
 * replaces what dies of the old code. How many of those there are, and will be. */
static unsigned
replace_old(struct master *m, unsigned old, int64_t now)
{
    const struct zygote *former =
        zygote_table_former(&m->zygotes, m->generation);
    int slot;

    while (former != NULL && old < m->target && now >= m->not_before &&
           (slot = take_slot(m)) >= 0) {
        scoreboard_take(m->board, (unsigned)slot, 0, former->generation);
        ask_for_worker(m, former, (unsigned)slot);
        old++;
    }
    return old;
}

/* Workers of the present code. It is tried with one first; but it has to replace
 * what has died of the old code meanwhile, and no zygote replaces. */
static unsigned
wanted(const struct master *m, unsigned old)
{
    if (!m->reloading) {
        return m->target;
    }
    return old + 1 < m->target ? m->target - old : 1;
}

/* What takes so long hangs. But where nobody is left who has the old code, there is
 * nothing to go back to. */
static void
watch_reload(struct master *m, unsigned old, int64_t now)
{
    int64_t most = scoreboard_load_limit(m->board);

    if (now - m->reload_start < most ||
        (old == 0 && zygote_table_former(&m->zygotes, m->generation) == NULL)) {
        return;
    }
    log_error("the new code has not loaded within %lld s; the old one goes on",
              (long long)(most / 1000));
    give_up_reload(m);
}

/* As many workers of the present code as there should be; the others leave as
 * soon as enough are ready to do without them. */
static void
reconcile(struct master *m, int64_t now)
{
    struct census c = count(m);
    int slot;

    if (m->reloading && c.ready > 0) {
        m->reloading = false;
        if (c.ready > c.broken) {
            atomic_fetch_add(&m->board->reloads, 1);
            log_notice("the new code is loaded");
        }
    }
    if (c.ready >= m->target && has_healthy_zygote(m, now)) {
        m->early_deaths = 0;
    }
    for (; c.serving > m->target; c.serving--) {
        dismiss_one(m);
    }
    c = count(m);
    while (c.current > m->target && c.serving <= m->target) {
        dismiss_one(m); /* TTOU while some are starting */
        c.current--;
    }
    if (m->reloading) {
        watch_reload(m, c.old, now);
        c = count(m);
    }
    if (m->reloading) {
        c.old = replace_old(m, c.old, now);
    }
    while (c.current < wanted(m, c.old) && now >= m->not_before &&
           can_spawn(m) && (slot = take_slot(m)) >= 0) {
        spawn(m, (unsigned)slot);
        if (m->role != ROLE_MASTER) {
            return;
        }
        c.current++;
    }
    if (m->s->config->preload) {
        master_tend_zygotes(m, now);
    }
}

static void
kill_overdue(struct master *m, int64_t now)
{
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        struct slot *s = &m->slots[i];
        if (s->pid != 0 && s->kill_at != 0 && now >= s->kill_at) {
            log_warning("worker %ld does not leave: killed", (long)s->pid);
            (void)kill(s->pid, SIGKILL);
            s->kill_at = 0;
        }
    }
}

/* -- signals ---------------------------------------------------------------------------------- */

static void
signal_all(struct master *m, int number)
{
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        if (m->slots[i].pid != 0) {
            (void)kill(m->slots[i].pid, number);
        }
    }
}

static void
reload(struct master *m, const char *why)
{
    log_notice("%s: loading the new code", why);
    file_watcher_refresh(&m->watcher);
    m->generation++;
    atomic_store(&m->board->generation, m->generation);
    m->reloading = count(m).serving > 0;
    m->reload_start = clock_ms();
    m->not_before = 0;
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        if (!slot_is_free(&m->slots[i]) && state_of(m, i) == SCORE_STARTING) {
            tell_to_leave(m, i, SIGTERM); /* what it loads is old already */
        }
    }
}

/* By something better than error pages. */
static bool
is_served(const struct master *m)
{
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        enum score_state s = state_of(m, i);
        if (!slot_is_free(&m->slots[i]) && !m->slots[i].leaving &&
            (s == SCORE_READY || s == SCORE_RECYCLE)) {
            return true;
        }
    }
    return false;
}

/* Somebody is about to serve the present code: a worker that loads it, or a zygote
 * that does, or has and is to fork the first worker. What hangs does not count. */
static bool
is_loading(struct master *m, int64_t now)
{
    int64_t since = now - scoreboard_load_limit(m->board);
    const struct zygote *z = master_zygote(m);

    if (z != NULL && z->started_ms > since &&
        (z->state == ZYGOTE_LOADING ||
         (z->state == ZYGOTE_LOADED && m->early_deaths == 0))) {
        return true;
    }
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        if (!slot_is_free(&m->slots[i]) && !m->slots[i].leaving &&
            generation_of(m, i) == m->generation &&
            state_of(m, i) == SCORE_STARTING &&
            atomic_load(&m->board->workers[i].started_ms) > since) {
            return true;
        }
    }
    return false;
}

/* While nobody serves, a load that is under way is let finish: where it is asked
 * for new code faster than any can be loaded, nobody would serve for ever. */
static void
consider_reload(struct master *m, int64_t now, const char *why)
{
    bool has_to_wait = !is_served(m) && is_loading(m, now);

    if (why != NULL && m->reload_asked == NULL && has_to_wait) {
        log_notice("%s: nobody serves yet: the load that is under way comes "
                   "first",
                   why);
    }
    m->reload_asked = why != NULL ? why : m->reload_asked;
    if (m->reload_asked != NULL && !has_to_wait) {
        reload(m, m->reload_asked);
        m->reload_asked = NULL;
    }
}

/* Nobody can connect any more; who has connected is served by the workers. */
static void
begin_stop(struct master *m, int64_t now)
{
    log_set_patience(0);
    m->stopping = true;
    m->stop_end = now + m->s->config->graceful_timeout_ms;
    for (size_t i = 0; i < m->s->nlisteners; i++) {
        listener_unlink(&m->s->listeners[i]);
    }
    atomic_store(&m->board->stopping, true);
}

/* TTIN and TTOU: how many workers are wanted. */
static void
count_again(struct master *m, unsigned more, unsigned less)
{
    unsigned most = m->board->nworkers / 2;

    m->target += more;
    m->target = m->target > less ? m->target - less : 1;
    if (m->target > most) {
        m->target = most;
    }
}

static void
obey(struct master *m, int64_t now)
{
    struct signals s = signals_get();

    if (s.reloads != m->seen.reloads) {
        logs_reopen();
        signal_all(m, SIGHUP); /* to workers it means just that */
    }
    if (s.stop != STOP_NONE && s.stop != m->seen.stop) {
        if (!m->stopping) {
            begin_stop(m, now);
        }
        master_stop_zygotes(m, s.stop == STOP_NOW);
        for (unsigned i = 0; i < m->board->nworkers; i++) {
            if (!slot_is_free(&m->slots[i])) {
                tell_to_leave(m, i, s.stop == STOP_NOW ? SIGQUIT : SIGTERM);
            }
        }
    }
    if (!m->stopping) {
        reload_pipe_receive(&m->told, &m->watcher);
        bool touched = m->s->config->reload != RELOAD_OFF &&
                       file_watcher_look(&m->watcher, now);
        bool asked = s.reloads != m->seen.reloads;
        consider_reload(m, now, touched ? "touched" : asked ? "SIGHUP" : NULL);
        count_again(m, s.more - m->seen.more, s.less - m->seen.less);
    }
    if (s.dumps != m->seen.dumps) {
        signal_all(m, SIGUSR2);
    }
    m->seen = s;
}

/* -- all of it --------------------------------------------------------------------------------- */

static bool
old_code_serves(const struct master *m)
{
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        if (m->slots[i].pid != 0 && is_serving(state_of(m, i)) &&
            generation_of(m, i) != m->generation) {
            return true;
        }
    }
    return false;
}

/* To systemd. That this loop runs is all a watchdog can ask of it: a worker that
 * hangs or dies is its own business. */
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
    else if (count(m).serving > 0) {
        m->notified = NOTIFY_READY; /* and stays so when all have died */
    }
    notify_tell(m->notified, m->seen.reloads, m->board, now);
    if (notify_watchdog_is_due(now)) {
        notify_watchdog(now);
    }
}

static void
loop(struct master *m)
{
    int control = m->s->control == NULL ? -1 : control_fd(m->s->control);

    log_set_patience(LOG_MS);
    for (;;) {
        int64_t now = clock_ms();
        reap(m);
        master_read_messages(m);
        obey(m, now);
        tell(m, now);
        if (m->stopping) {
            if (count(m).alive == 0 && master_dismiss_zygotes(m)) {
                return;
            }
        }
        else {
            reconcile(m, now);
            if (m->role != ROLE_MASTER) {
                return;
            }
        }
        kill_overdue(m, now);
        master_watch_zygotes(m, now);
        scoreboard_sample(m->board);
        if (m->s->control != NULL) {
            control_run(m->s->control);
        }
        int64_t wait = m->stopping ? STOPPING_MS : TICK_MS;
        if (m->not_before > now && m->not_before - now < wait) {
            wait = m->not_before - now;
        }
        int pause = file_watcher_pause(&m->watcher, now, (int)wait);
        (void)signals_wait(notify_wait_ms(now, pause), control, -1);
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
    m->target = c->processes;
    m->generation = 1;
    file_watcher_init(&m->watcher, c, loader_script());
    if (c->reload == RELOAD_MODULES) {
        if (reload_pipe_open(&m->told) < 0) {
            log_error("out of descriptors");
            return EX_OSERR;
        }
        m->s->imports_fd = m->told.write_fd;
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
    struct master m = {.s = setup, .told = {.read_fd = -1, .write_fd = -1}};
    int status = set_up(&m);

    if (status == 0) {
        loop(&m);
    }
    free(m.slots);
    file_watcher_fini(&m.watcher);
    buf_fini(&m.told.rest);
    if (m.role != ROLE_MASTER) {
        return m.role == ROLE_WORKER ? MASTER_IS_WORKER : m.status;
    }
    for (size_t i = 0; i < setup->nlisteners; i++) {
        listener_close(&setup->listeners[i], true);
    }
    control_close(&setup->control);
    reload_pipe_close(&m.told);
    scoreboard_free(&m.board);
    return status;
}
