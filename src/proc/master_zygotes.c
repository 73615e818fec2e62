/*
 * master_zygotes.c - what the master does with its zygotes (--preload)
 */
#include "proc/master_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "proc/master.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum { BIRTH_MS = 30000 /* a zygote that takes longer to fork is stuck */ };

/* -- births, and what they say --------------------------------------------------- */

struct zygote *
master_zygote(struct master *m)
{
    return nursery_find(&m->nursery, m->generation);
}

static void
start_zygote(struct master *m)
{
    pid_t me = getpid();
    unsigned slot;
    int fd;

    pid_t pid = nursery_fork(&m->nursery, m->generation, &fd);
    if (pid < 0 && pid != -EAGAIN) {
        master_pause_births(m, -pid);
    }
    if (pid != 0) {
        return;
    }
    master_leave(m);
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
        if (m->slots[i].mother == z->pid) {
            return true;
        }
    }
    return false;
}

/* False where it has ended, and been reaped, before we heard of its birth. */
static bool
is_our_child(pid_t pid)
{
    siginfo_t info;

    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static void
welcome(struct master *m, const struct zygote *z, const struct zygote_report *r)
{
    struct slot *s = &m->slots[r->slot];

    if (r->slot >= m->board->nworkers || !slot_is_unborn(s) ||
        s->mother != z->pid) {
        return;
    }
    if (r->pid <= 0 || !is_our_child(r->pid)) {
        master_free_slot(m, r->slot);
        master_pause_births(m, r->pid < 0 ? -r->pid : ECHILD);
        return;
    }
    s->pid = r->pid;
    atomic_store(&m->board->workers[r->slot].pid, r->pid);
    if (s->leaving) {
        (void)kill(s->pid, s->farewell);
    }
}

/* The application does not load: error pages are served only where nobody has
 * anything better. */
static void
judge_failure(struct master *m, struct zygote *z)
{
    if (m->stopping || !master_has_ready_workers(m->board)) {
        z->state = ZYGOTE_BROKEN;
    }
    else if (m->reloading && z->generation == m->generation) {
        z->state = ZYGOTE_BROKEN;
        master_give_up_reload(m);
    }
    else {
        log_error("the application does not load (see above); the workers that "
                  "are left go on");
        z->state = ZYGOTE_BROKEN;
        zygote_dismiss(z);
        master_back_off(m, true, 0);
    }
}

static void
hear(struct master *m, struct zygote *z)
{
    struct zygote_report r;

    while (zygote_hear(z, &r)) {
        switch (r.word) {
        case ZYGOTE_HAS_LOADED:
        case ZYGOTE_HAS_FAILED:
            if (z->state != ZYGOTE_LOADING) {
                break; /* killed meanwhile */
            }
            z->state = ZYGOTE_LOADED;
            if (r.word == ZYGOTE_HAS_FAILED) {
                judge_failure(m, z);
            }
            break;
        case ZYGOTE_HAS_BORNE:
            welcome(m, z, &r);
            break;
        }
    }
}

void
master_hear_zygotes(struct master *m)
{
    for (size_t i = 0; i < ARRAY_SIZE(m->nursery.v); i++) {
        hear(m, &m->nursery.v[i]);
    }
}

/* -- ends ----------------------------------------------------------------------------- */

void
master_bury_zygote(struct master *m, struct zygote *z, int status)
{
    int64_t age = clock_ms() - z->born_ms;
    bool no_load = WIFEXITED(status) && WEXITSTATUS(status) == EX_SOFTWARE;
    char how[64];

    hear(m, z); /* its last words */
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        if (slot_is_unborn(&m->slots[i]) && m->slots[i].mother == z->pid) {
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
    }
    zygote_bury(z);
}

void
master_tend_zygotes(struct master *m, int64_t now)
{
    for (size_t i = 0; i < ARRAY_SIZE(m->nursery.v); i++) {
        struct zygote *z = &m->nursery.v[i];
        /* In a reload the former one may be needed again. */
        if (z->state != ZYGOTE_NONE && z->generation != m->generation &&
            (z->state == ZYGOTE_LOADING ||
             (!m->reloading && !has_workers(m, z)))) {
            zygote_dismiss(z);
        }
    }
    if (master_zygote(m) == NULL && now >= m->not_before) {
        start_zygote(m);
    }
}

bool
master_dismiss_zygotes(struct master *m)
{
    bool gone = true;

    for (size_t i = 0; i < ARRAY_SIZE(m->nursery.v); i++) {
        zygote_dismiss(&m->nursery.v[i]);
        gone = gone && m->nursery.v[i].state == ZYGOTE_NONE;
    }
    return gone;
}

void
master_stop_zygotes(struct master *m, bool all)
{
    for (size_t i = 0; i < ARRAY_SIZE(m->nursery.v); i++) {
        if (all || m->nursery.v[i].state == ZYGOTE_LOADING) {
            zygote_kill(&m->nursery.v[i]);
        }
    }
}

void
master_watch_zygotes(struct master *m, int64_t now)
{
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        const struct slot *s = &m->slots[i];
        struct zygote *z =
            slot_is_unborn(s) ? nursery_of_pid(&m->nursery, s->mother) : NULL;
        if (z != NULL && z->state != ZYGOTE_LEAVING &&
            now >= atomic_load(&m->board->workers[i].started_ms) + BIRTH_MS) {
            log_error("zygote %ld does not fork: killed", (long)z->pid);
            zygote_kill(z);
        }
    }
}
