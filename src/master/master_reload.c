#include "master/master_reload.h"

#include "base/clock.h"
#include "master/master_elastic.h"
#include "master/master_fork.h"
#include "master/master_workers.h"
#include "os/log.h"
#include "os/safe_path.h"
#include "reload/file_watcher.h"

#include <assert.h>
#include <signal.h>
#include <stdatomic.h>
#include <sysexits.h>

static const char by_signal[] = "SIGHUP";

static void
set_generation(struct master *m, unsigned generation)
{
    assert(generation >= 1);
    m->generation = generation;
    atomic_store(&m->board->generation, generation);
}

/* Ends what has the new code, or loads it (with this signal); the old code is
 * the present one again. */
static void
go_back(struct master *m, int number)
{
    struct zygote *failed = master_current_zygote(m);

    if (failed != NULL) {
        zygote_dismiss(failed, master_zygote_end_ms(m));
    }
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        if (!slot_is_free(&m->slots[i]) &&
            worker_generation(m, i) == m->generation) {
            /* One that has got ready this moment may have a request. */
            master_dismiss_worker(
                m, i, state_is_serving(worker_state(m, i)) ? SIGTERM : number);
        }
    }
    set_generation(m, m->generation - 1);
    m->reloading = false;
}

static void
fail(struct master *m)
{
    go_back(m, SIGKILL);
    m->reload_failed = true;
}

void
master_give_up_reload(struct master *m)
{
    log_error("the new code does not load (see above); the old one goes on; %s",
              file_watcher_next_try(&m->watcher));
    fail(m);
}

/* New code may take long to load, or hang. Until it is loaded the former zygote
 * replaces workers of the old code that have ended. */
unsigned
master_replace_old(struct master *m, unsigned old, int64_t now)
{
    const struct zygote *former =
        zygote_table_former(&m->zygotes, m->generation);
    int slot;

    while (former != NULL && old < m->target && now >= m->not_before &&
           (slot = master_take_slot(m)) >= 0) {
        scoreboard_take(m->board, (unsigned)slot, 0, former->generation);
        master_ask_zygote(m, former, (unsigned)slot);
        old++;
    }
    return old;
}

/* New code is tried with one worker. Without a zygote of the old code, new
 * workers also replace those of the old code that have ended. */
unsigned
master_wanted_workers(const struct master *m, unsigned old)
{
    if (!m->reloading) {
        return m->target;
    }
    return old + 1 < m->target ? m->target - old : 1;
}

/* A load that takes so long hangs. But where no process has the old code any
 * more, there is nothing to go back to. */
void
master_watch_reload(struct master *m, unsigned old, int64_t now)
{
    int64_t most = scoreboard_load_limit(m->board);

    if (now - m->reload_start < most ||
        (old == 0 && zygote_table_former(&m->zygotes, m->generation) == NULL)) {
        return;
    }
    log_error("the new code has not loaded within %lld s; the old one goes on",
              (long long)(most / 1000));
    fail(m);
}

static void
reload(struct master *m, const char *why)
{
    log_notice("%s: %s", why,
               m->target == 0 && !m->s->config->preload
                   ? "the next request loads the new code"
                   : "loading the new code");
    assert(!m->stopping);
    file_watcher_refresh(&m->watcher, why == by_signal);
    if (m->reloading) {
        go_back(m, SIGTERM); /* what it loads is old already */
    }
    set_generation(m, m->generation + 1);
    m->reload_failed = false;
    m->reloading = master_count_workers(m).serving > 0;
    if (m->target == 0 && zygote_table_former(&m->zygotes, m->generation)) {
        m->reloading = true; /* no worker has the old code, but a zygote has */
    }
    m->reload_start = clock_ms();
    m->not_before = 0;
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        if (!slot_is_free(&m->slots[i]) &&
            worker_state(m, i) == SCORE_STARTING) {
            /* What it loads is old already. */
            master_dismiss_worker(m, i, SIGTERM);
        }
    }
}

/* True where some worker serves the application, not error pages. */
static bool
is_served(const struct master *m)
{
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        enum score_state s = worker_state(m, i);
        if (!slot_is_free(&m->slots[i]) && !m->slots[i].leaving &&
            (s == SCORE_READY || s == SCORE_RECYCLE)) {
            return true;
        }
    }
    return false;
}

/* True where a process is about to serve the present code: a worker that loads
 * it, or a zygote that loads it or has yet to fork the first worker. One that
 * hangs does not count. */
static bool
is_loading(struct master *m, int64_t now)
{
    int64_t since = now - scoreboard_load_limit(m->board);
    const struct zygote *z = master_current_zygote(m);

    if (z != NULL && z->started_ms > since &&
        (z->state == ZYGOTE_LOADING ||
         (z->state == ZYGOTE_LOADED && m->early_deaths == 0 &&
          m->target > 0))) {
        return true;
    }
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        if (!slot_is_free(&m->slots[i]) && !m->slots[i].leaving &&
            worker_generation(m, i) == m->generation &&
            worker_state(m, i) == SCORE_STARTING &&
            atomic_load(&m->board->workers[i].started_ms) > since) {
            return true;
        }
    }
    return false;
}

void
master_judge_unloaded(struct master *m)
{
    /* One that fails may have had bad luck; others still load. */
    bool is_early = is_loading(m, clock_ms()) && m->early_deaths < m->target;
    /* A supervisor may have sent TERM to all processes. */
    bool is_stop = m->stopping || signals_get().stop != STOP_NONE;

    if (m->s->config->need_app && !is_stop && !is_early && m->status == 0 &&
        !master_has_ready_workers(m->board)) {
        log_error("--need-app: the application does not load (see above), and "
                  "no worker has it: the service ends");
        m->status = EX_SOFTWARE;
        safe_path_hide_left();
    }
}

static enum file_watcher_load
load_state(struct master *m, int64_t now)
{
    const struct zygote *z = master_current_zygote(m);
    /* Nobody has to, where no request comes. */
    bool served = is_served(m) || (master_elastic_sleeps(m) &&
                                   (z == NULL || z->state != ZYGOTE_BROKEN));

    if (m->reloading || (!served && is_loading(m, now))) {
        return FILE_WATCHER_LOADING;
    }
    return m->reload_failed || !served ? FILE_WATCHER_FAILED
                                       : FILE_WATCHER_LOADED;
}

/* Where new code is asked for faster than it loads, nobody would ever serve. */
void
master_consider_reload(struct master *m, int64_t now, bool is_asked)
{
    bool has_to_wait = !is_served(m) && is_loading(m, now);

    reload_pipe_receive(&m->imports, &m->watcher);
    file_watcher_note(&m->watcher, now, load_state(m, now));
    const char *why = file_watcher_look(&m->watcher, now);
    why = is_asked ? by_signal : why;

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
