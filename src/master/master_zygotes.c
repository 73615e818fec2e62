#include "master/master_zygotes.h"

#include "base/clock.h"
#include "master/master_fork.h"
#include "master/master_reload.h"
#include "master/master_workers.h"
#include "os/log.h"
#include "process/process_title.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    FORK_MS = 30000 /* a zygote that takes longer to fork is stuck */
};

/* -- starting them, and their reports -------------------------------------- */

/* Each of the others has a worker that still finishes requests. The zygote
 * should outlive it, but new code must not wait for that. */
static void
make_room(struct master *m)
{
    struct zygote *z = zygote_table_surplus(&m->zygotes, m->generation);

    if (z != NULL) {
        log_warning("%d zygotes have workers that still finish requests: %ld, "
                    "the oldest, ends before its workers",
                    ZYGOTE_TABLE_SIZE, (long)z->pid);
        zygote_dismiss(z, master_zygote_end_ms(m));
    }
}

static void
start_zygote(struct master *m)
{
    pid_t me = getpid();
    unsigned slot;
    int fd;

    pid_t pid = zygote_table_fork(&m->zygotes, m->generation, &fd);
    if (pid == -EAGAIN) {
        make_room(m);
    }
    else if (pid < 0) {
        master_pause_forks(m, -pid);
    }
    if (pid != 0) {
        return;
    }
    master_close_in_child(m);
    process_title_set("zygote");
    m->status = zygote_run(m->s, fd, me, &slot);
    if (m->status == ZYGOTE_IS_WORKER) {
        master_become_worker(m, slot, me);
    }
    else {
        m->role = ROLE_ZYGOTE;
    }
}

static bool
has_workers(const struct master *m, const struct zygote *z)
{
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        if (m->slots[i].zygote_pid == z->pid) {
            return true;
        }
    }
    return false;
}

/* False where it has ended and been reaped before its zygote's report was
 * read. */
static bool
is_our_child(pid_t pid)
{
    siginfo_t info;

    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/* A worker has been forked, or could not be. */
static void
note_worker(struct master *m, const struct zygote *z,
            const struct zygote_report *r)
{
    struct slot *s = &m->slots[r->slot];

    if (r->slot >= m->board->nworkers || !slot_is_being_forked(s) ||
        s->zygote_pid != z->pid) {
        return;
    }
    if (r->pid <= 0 || !is_our_child(r->pid)) {
        master_free_slot(m, r->slot);
        master_pause_forks(m, r->pid < 0 ? -r->pid : ECHILD);
        return;
    }
    s->pid = r->pid;
    atomic_store(&m->board->workers[r->slot].pid, r->pid);
    if (s->leaving) {
        (void)kill(s->pid, s->pending_signal);
    }
}

/* The application does not load. Error pages are served only where no process
 * can do better. */
static void
handle_load_failure(struct master *m, struct zygote *z)
{
    bool reload = m->reloading && z->generation == m->generation;
    bool better = master_has_ready_workers(m->board) ||
                  (reload && zygote_table_former(&m->zygotes, m->generation));

    if (m->stopping || !better) {
        z->state = ZYGOTE_BROKEN;
        master_judge_unloaded(m);
    }
    else if (reload) {
        z->state = ZYGOTE_BROKEN;
        master_give_up_reload(m);
    }
    else {
        log_error("the application does not load (see above); the workers that "
                  "are left go on");
        z->state = ZYGOTE_BROKEN;
        zygote_dismiss(z, master_zygote_end_ms(m));
        master_back_off(m, true, 0);
    }
}

static void
read_messages(struct master *m, struct zygote *z)
{
    struct zygote_report r;

    while (zygote_read_message(z, &r)) {
        switch (r.message) {
        case ZYGOTE_HAS_LOADED:
        case ZYGOTE_HAS_FAILED:
            if (z->state != ZYGOTE_LOADING) {
                break; /* it has been killed */
            }
            z->state = ZYGOTE_LOADED;
            if (r.message == ZYGOTE_HAS_FAILED) {
                handle_load_failure(m, z);
            }
            break;
        case ZYGOTE_HAS_FORKED:
            note_worker(m, z, &r);
            break;
        }
    }
}

void
master_read_messages(struct master *m)
{
    for (size_t i = 0; i < ARRAY_SIZE(m->zygotes.v); i++) {
        read_messages(m, &m->zygotes.v[i]);
    }
}

/* -- their end ------------------------------------------------------------- */

void
master_reap_zygote(struct master *m, struct zygote *z, int status)
{
    int64_t age = clock_ms() - z->started_ms;
    bool no_load = WIFEXITED(status) && WEXITSTATUS(status) == EX_SOFTWARE;
    char how[64];

    read_messages(m, z); /* the last ones */
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        if (slot_is_being_forked(&m->slots[i]) &&
            m->slots[i].zygote_pid == z->pid) {
            master_free_slot(m, i);
        }
    }
    if (z->state != ZYGOTE_LEAVING && !m->stopping) {
        log_error("zygote %ld %s after %lld.%03lld s", (long)z->pid,
                  master_how_it_ended(status, how, sizeof how),
                  (long long)(age / 1000), (long long)(age % 1000));
        master_back_off(m, z->state == ZYGOTE_LOADING, age);
        if (m->reloading && z->generation == m->generation && no_load) {
            master_give_up_reload(m);
        }
        else if (z->state == ZYGOTE_LOADING) {
            master_judge_unloaded(m);
        }
    }
    zygote_reap(z);
}

void
master_update_zygotes(struct master *m, int64_t now)
{
    /* Where the new code does not load, it is needed again. */
    const struct zygote *former =
        m->reloading ? zygote_table_former(&m->zygotes, m->generation) : NULL;

    for (size_t i = 0; i < ARRAY_SIZE(m->zygotes.v); i++) {
        struct zygote *z = &m->zygotes.v[i];
        if (z->state != ZYGOTE_NONE && z->generation != m->generation &&
            z != former && (z->state == ZYGOTE_LOADING || !has_workers(m, z))) {
            zygote_dismiss(z, master_zygote_end_ms(m));
        }
    }
    if (master_current_zygote(m) == NULL && now >= m->not_before) {
        start_zygote(m);
    }
}

bool
master_dismiss_zygotes(struct master *m)
{
    bool gone = true;

    for (size_t i = 0; i < ARRAY_SIZE(m->zygotes.v); i++) {
        zygote_dismiss(&m->zygotes.v[i], master_zygote_end_ms(m));
        gone = gone && m->zygotes.v[i].state == ZYGOTE_NONE;
    }
    return gone;
}

void
master_signal_zygotes(const struct master *m, int number)
{
    for (size_t i = 0; i < ARRAY_SIZE(m->zygotes.v); i++) {
        if (m->zygotes.v[i].state != ZYGOTE_NONE) {
            (void)kill(m->zygotes.v[i].pid, number);
        }
    }
}

void
master_stop_zygotes(struct master *m, bool all)
{
    for (size_t i = 0; i < ARRAY_SIZE(m->zygotes.v); i++) {
        if (all || m->zygotes.v[i].state == ZYGOTE_LOADING) {
            zygote_kill(&m->zygotes.v[i]);
        }
    }
}

void
master_watch_zygotes(struct master *m, int64_t now)
{
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        const struct slot *s = &m->slots[i];
        struct zygote *z = slot_is_being_forked(s)
                               ? zygote_table_of_pid(&m->zygotes, s->zygote_pid)
                               : NULL;
        if (z == NULL || zygote_is_killed(z) ||
            (z->state == ZYGOTE_LEAVING && !m->stopping)) {
            continue;
        }
        int64_t end = atomic_load(&m->board->workers[i].started_ms) + FORK_MS;
        if (m->stopping && m->stop_end < end) {
            end = m->stop_end;
        }
        if (now >= end) {
            log_error("zygote %ld does not fork: killed", (long)z->pid);
            zygote_kill(z);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(m->zygotes.v); i++) {
        zygote_escalate(&m->zygotes.v[i], now);
    }
}
