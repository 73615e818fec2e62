#include "master/master_workers.h"

#include "base/clock.h"
#include "os/log.h"
#include "status/running_requests.h"
#include "text/signal_name.h"

#include <assert.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>

enum {
    KILL_AFTER_MS = 2000, /* after --graceful-timeout, or SIGQUIT */
    LAST_MS = 500         /* at least, for a zygote that leaves in a stop */
};

/* -- slots ----------------------------------------------------------------- */

void
master_free_slot(struct master *m, unsigned i)
{
    assert(i < m->board->nworkers);
    m->slots[i] = (struct slot){.pid = 0};
    scoreboard_release(m->board, i);
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

int
master_take_slot(struct master *m)
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

/* -- what they do ---------------------------------------------------------- */

struct worker_counts
master_count_workers(const struct master *m)
{
    struct worker_counts c = {0};

    for (unsigned i = 0; i < m->board->nworkers; i++) {
        enum score_state s = worker_state(m, i);
        if (slot_is_free(&m->slots[i])) {
            continue;
        }
        c.alive++;
        if (m->slots[i].leaving) {
            continue;
        }
        bool current =
            worker_generation(m, i) == m->generation && s != SCORE_RECYCLE;
        c.current += current;
        c.old += worker_generation(m, i) != m->generation;
        c.serving += state_is_serving(s);
        c.ready += current && state_is_serving(s);
        c.broken += current && s == SCORE_BROKEN;
    }
    assert(c.broken <= c.ready && c.ready <= c.serving && c.serving <= c.alive);
    return c;
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

/* -- signals --------------------------------------------------------------- */

void
master_signal_workers(struct master *m, int number)
{
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        if (m->slots[i].pid != 0) {
            (void)kill(m->slots[i].pid, number);
        }
    }
}

void
master_dismiss_worker(struct master *m, unsigned i, int signal_number)
{
    struct slot *s = &m->slots[i];
    int64_t kill_at = clock_ms() + KILL_AFTER_MS;

    assert(!slot_is_free(s));
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
    if (slot_is_being_forked(s)) {
        s->pending_signal = signal_number;
        return;
    }
    (void)kill(s->pid, signal_number);
}

void
master_retire_worker(struct master *m, unsigned i)
{
    m->slots[i].is_retired = true;
    atomic_store(&m->board->workers[i].retires, true);
    master_dismiss_worker(m, i, SIGTERM);
}

/* Higher for one that is needed less: old code first, then those that have
 * reached a limit, then (after TTOU) any: those that do not serve yet, those that
 * have no request, which may take longer than --graceful-timeout. 0: it leaves
 * already. */
static int
rank(const struct master *m, unsigned i)
{
    enum score_state state = worker_state(m, i);

    if (slot_is_free(&m->slots[i]) || m->slots[i].leaving) {
        return 0;
    }
    return worker_generation(m, i) != m->generation    ? 5
           : state == SCORE_RECYCLE                    ? 4
           : state == SCORE_STARTING                   ? 3
           : scoreboard_busy_threads(m->board, i) == 0 ? 2
                                                       : 1;
}

void
master_dismiss_one(struct master *m)
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
        master_dismiss_worker(m, who, SIGTERM);
    }
}

int64_t
master_zygote_end_ms(const struct master *m)
{
    int64_t now = clock_ms();
    int64_t end =
        now + m->s->config->graceful_timeout_ms + (int64_t)KILL_AFTER_MS;

    if (m->stopping) {
        end = m->stop_end > now + LAST_MS ? m->stop_end : now + LAST_MS;
    }
    return end;
}

void
master_kill_overdue(struct master *m, int64_t now)
{
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        struct slot *s = &m->slots[i];
        if (s->is_retired && !m->stopping &&
            scoreboard_busy_threads(m->board, i) > 0) {
            s->kill_at =
                now + KILL_AFTER_MS + m->s->config->graceful_timeout_ms;
        }
        if (s->pid != 0 && s->kill_at != 0 && now >= s->kill_at) {
            log_warning("worker %ld does not leave: killed", (long)s->pid);
            running_requests_log_cut_off(m->board, i, LOG_LEVEL_WARNING);
            (void)kill(s->pid, SIGKILL);
            s->kill_at = 0;
        }
    }
}
