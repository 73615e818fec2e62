/*
 * master_state.h - what the master knows, shared by its master_*.c
 *
 * What:      its workers, its zygotes, and how far a reload or a stop is.
 * Owner:     master.c; a member that one file alone writes says which.
 * Lifetime:  master_run().
 * Threads:   one.                                                GIL: not used.
 * Errors:    none.                                               Blocks: never.
 */
#ifndef MASTER_MASTER_STATE_H
#define MASTER_MASTER_STATE_H

#include "base/cpu_limit.h"
#include "master/master_elastic.h"
#include "master/zygote_table.h"
#include "process/signals.h"
#include "reload/file_watcher.h"
#include "reload/reload_pipe.h"
#include "status/exit_idle.h"
#include "status/notify.h"
#include "status/scoreboard.h"
#include "worker/worker_setup.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What the master knows of a slot beyond the board. */
struct slot {
    pid_t pid;          /* 0 = free, or being forked */
    pid_t zygote_pid;   /* of the zygote that forks or forked it; 0 = we did */
    bool leaving;       /* asked to leave */
    bool is_retired;    /* because it was idle */
    int pending_signal; /* to be sent as soon as its pid is known */
    int64_t kill_at;    /* clock_ms(); 0 = not asked to leave, or killed */
    struct elastic_slot elastic;
};

/* What a process is when it comes out of the loop. */
enum role { ROLE_MASTER, ROLE_WORKER, ROLE_ZYGOTE };

enum {
    MASTER_HEALTHY_MS = 5000 /* a process this old did not die at its start */
};

struct master {
    struct worker_setup *s;
    struct scoreboard *board;
    struct slot *slots;
    struct zygote_table zygotes; /* --preload */
    unsigned target;        /* how many workers there should be: master.c and
                      * master_elastic.c */
    struct elastic elastic; /* master_elastic.c */
    bool lacks_slot; /* none is free, and the log says so: master_workers.c */
    /* Forks: master_fork.c; a success or a reload resets them. */
    unsigned early_deaths; /* one after the other */
    int64_t not_before;    /* clock_ms(): no fork until then */
    /* Reloads: master_reload.c; master.c where one has succeeded. */
    unsigned generation; /* of the code that new workers load; one that does not
                          * load does not count */
    bool reloading;      /* no worker of this generation has been ready yet */
    bool reload_failed;  /* the last one: older code goes on */
    const char *reload_asked; /* why new code is to be loaded, later; or NULL */
    int64_t reload_start;     /* clock_ms() */
    struct file_watcher watcher;
    struct reload_pipe imports; /* imported files, from the workers */
    /* All below: master.c. */
    struct signals seen;
    enum notify_state notified; /* systemd */
    struct exit_idle idle;
    struct cpu_limit cpu;   /* of a warm instance, or all 0 */
    const char *end_reason; /* why the master ends itself; or NULL */
    bool stopping;
    int64_t stop_end;      /* clock_ms() when --graceful-timeout passes */
    unsigned last_workers; /* how many were forked since: master_drain.c */
    enum role role; /* master_fork.c and master_zygotes.c, in a new process */
    /* The exit code of a zygote, or of the master: not 0 where --need-app ends
     * it. */
    int status;
};

static inline bool
slot_is_free(const struct slot *s)
{
    return s->pid == 0 && s->zygote_pid == 0;
}

static inline bool
slot_is_being_forked(const struct slot *s)
{
    return s->pid == 0 && s->zygote_pid != 0;
}

/* The zygote that forks workers of the present code; NULL = there is none
 * now. */
static inline struct zygote *
master_current_zygote(struct master *m)
{
    return zygote_table_find(&m->zygotes, m->generation);
}

/* Of the worker in slot i. */
static inline enum score_state
worker_state(const struct master *m, unsigned i)
{
    return atomic_load(&m->board->workers[i].state);
}

static inline unsigned
worker_generation(const struct master *m, unsigned i)
{
    return atomic_load(&m->board->workers[i].generation);
}

static inline bool
state_is_serving(enum score_state s)
{
    return s == SCORE_READY || s == SCORE_BROKEN || s == SCORE_RECYCLE;
}

#endif
