#include "master/master_fork.h"

#include "base/clock.h"
#include "master/master_workers.h"
#include "os/fd.h"
#include "os/log.h"
#include "process/logs.h"
#include "process/process_title.h"
#include "process/signals.h"
#include "status/control.h"
#include "status/notify.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum {
    BACKOFF_FIRST_MS = 100, /* doubled after each early death */
    BACKOFF_MAX_MS = 10000,
    PAUSE_MS = 1000 /* after a fork that failed */
};

void
master_close_in_child(struct master *m)
{
    log_set_patience(-1);
    m->s->master_wake_fd = signals_keep_wake_fd();
    control_forget(&m->s->control);
    notify_forget();
    logs_forget_own();
    fd_close(&m->imports.read_fd);
    fd_close(&m->elastic.watch_fd);
    zygote_table_forget(&m->zygotes);
}

void
master_become_worker(struct master *m, unsigned i, pid_t master_pid)
{
    assert(i < m->board->nworkers);
    m->role = ROLE_WORKER;
    process_title_set("worker");
    m->s->worker = i;
    atomic_store(&m->board->workers[i].pid, getpid());
    /* Without a master nothing would ever stop it. */
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != master_pid) {
        (void)raise(SIGTERM);
    }
}

void
master_pause_forks(struct master *m, int err)
{
    log_error("a worker cannot be forked: %s", strerror(err));
    m->not_before = clock_ms() + PAUSE_MS;
}

void
master_back_off(struct master *m, bool at_start, int64_t age_ms)
{
    unsigned k = m->early_deaths < 7 ? m->early_deaths : 7;
    int64_t wait = (int64_t)BACKOFF_FIRST_MS << k;

    if (at_start || age_ms < MASTER_HEALTHY_MS) {
        m->early_deaths++;
        m->not_before =
            clock_ms() + (wait < BACKOFF_MAX_MS ? wait : BACKOFF_MAX_MS);
    }
}

static void
fork_worker(struct master *m, unsigned i)
{
    pid_t me = getpid();

    /* In the child signals wait for its own signals_open(). Before that the
     * handlers are the master's: a TERM would be lost. */
    signals_hold();
    pid_t pid = fork();
    int err = errno;
    if (pid != 0) {
        signals_release();
    }
    if (pid == 0) {
        master_close_in_child(m);
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

void
master_ask_zygote(struct master *m, const struct zygote *z, unsigned i)
{
    assert(zygote_is_able(z) && slot_is_free(&m->slots[i]));
    int e = zygote_ask(z, i);

    if (e < 0) {
        master_free_slot(m, i);
        master_pause_forks(m, -e);
        return;
    }
    m->slots[i] = (struct slot){.zygote_pid = z->pid};
}

bool
master_can_fork(struct master *m)
{
    const struct zygote *z = master_current_zygote(m);

    return !m->s->config->preload || (z != NULL && zygote_is_able(z));
}

void
master_fork_worker(struct master *m, unsigned i)
{
    assert(slot_is_free(&m->slots[i]));
    scoreboard_take(m->board, i, 0, m->generation);
    if (m->s->config->preload) {
        master_ask_zygote(m, master_current_zygote(m), i);
    }
    else {
        fork_worker(m, i);
    }
}

void
master_fork_last_worker(struct master *m, unsigned i)
{
    assert(slot_is_free(&m->slots[i]) && m->stopping);
    scoreboard_take(m->board, i, 0, m->generation);
    fork_worker(m, i);
    if (m->role == ROLE_WORKER) {
        m->s->restarted = true;
    }
}
