/*
 * master_state.h - the inside of the master, shared by proc/master*.c
 *
 * What:      what it knows of its workers and zygotes, and what births and deaths
 *            of both have in common.
 * Owner:     master/master.c.
 * Threads:   one.                                                GIL: not used.
 * Errors:    logs.                                               Blocks: never.
 */
#ifndef MASTER_MASTER_STATE_H
#define MASTER_MASTER_STATE_H

#include "master/zygote_table.h"
#include "process/signals.h"
#include "reload/file_watcher.h"
#include "reload/reload_pipe.h"
#include "status/notify.h"
#include "status/scoreboard.h"
#include "worker/worker_setup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What the master knows of a slot beyond the board. */
struct slot {
    pid_t pid;          /* 0 = free, or not born yet */
    pid_t zygote_pid;   /* the zygote that was asked for it; 0 = ourselves */
    bool leaving;       /* told to go */
    int pending_signal; /* the signal for one that was told before its birth */
    int64_t kill_at;    /* clock_ms(); 0 = not told to go, or killed */
};

/* What a process is when it comes out of the loop. */
enum role { ROLE_MASTER, ROLE_WORKER, ROLE_ZYGOTE };

enum { KILL_AFTER_MS = 2000 /* after --graceful-timeout, or SIGQUIT */ };

struct master {
    struct worker_setup *s;
    struct scoreboard *board;
    struct slot *slots;
    struct zygote_table zygotes; /* --preload */
    unsigned target;             /* how many workers there should be */
    unsigned generation;         /* of the code that new workers load */
    bool reloading; /* no worker of this generation has been ready yet */
    const char *reload_asked; /* why new code is to be loaded, later; or NULL */
    int64_t reload_start;     /* clock_ms() */
    bool lacks_slot;          /* none can be born, which the log says */
    unsigned early_deaths;    /* one after the other */
    int64_t not_before;       /* clock_ms(): no fork until then */
    struct signals seen;
    struct file_watcher watcher;
    struct reload_pipe told;    /* by workers: imported files to watch, too */
    enum notify_state notified; /* systemd */
    bool stopping;
    int64_t stop_end; /* clock_ms() when --graceful-timeout passes */
    enum role role;
    int status; /* ROLE_ZYGOTE: its exit code */
};

static inline bool
slot_is_free(const struct slot *s)
{
    return s->pid == 0 && s->zygote_pid == 0;
}

static inline bool
slot_is_unborn(const struct slot *s)
{
    return s->pid == 0 && s->zygote_pid != 0;
}

/* -- master.c (i is a slot) ------------------------------------------------------- */

/* In a new process: what the master has is not the child's. */
void master_leave(struct master *m);

/* After that, in a worker. */
void master_become_worker(struct master *m, unsigned i, pid_t master_pid);

void master_free_slot(struct master *m, unsigned i);

/* A worker could not be forked: nothing is forked for the next second. */
void master_pause_forks(struct master *m, int err);

/* A process of this age has died unasked: at its start, or so soon after it that
 * the next one would die at once, too. Else nothing is done. */
void master_back_off(struct master *m, bool at_start, int64_t age_ms);

/* The new code does not load: those who serve the old one go on. */
void master_give_up_reload(struct master *m);

/* "was killed by signal 9 (KILL)", of a wait status; returns to. */
const char *master_how_it_ended(int status, char *to, size_t size);

/* -- master_zygotes.c, for --preload ---------------------------------- */

/* The one that forks workers of the present code; NULL = there is none now. */
struct zygote *master_zygote(struct master *m);

/* What zygotes have said since. */
void master_read_messages(struct master *m);

/* One of the present code, the others leave after their workers. m->role changes
 * in a zygote, and in the workers that it forks. */
void master_tend_zygotes(struct master *m, int64_t now);

/* One that is not needed any more: it leaves within --graceful-timeout. */
void master_dismiss_zygote(struct master *m, struct zygote *z);

/* Its process has ended. */
void master_reap_zygote(struct master *m, struct zygote *z, int status);

/* Kills those that do not do what they were asked for. */
void master_watch_zygotes(struct master *m, int64_t now);

/* At a stop: ends those that only load, or all. The others wait for the workers. */
void master_stop_zygotes(struct master *m, bool all);

/* After the workers: lets them go. True when all have gone. */
bool master_dismiss_zygotes(struct master *m);

#endif
