/*
 * master_fork.h - how a master gets new workers
 *
 * What:      forks a worker, or asks a zygote for one; waits longer and longer
 *            where they die at their start.
 * Owner:     the master.
 * Threads:   one.                                                GIL: not used.
 * Errors:    logs, and tries again later.                        Blocks: never.
 */
#ifndef MASTER_MASTER_FORK_H
#define MASTER_MASTER_FORK_H

#include "base/compiler.h"
#include "master/master_state.h"
#include "master/zygote_table.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Where workers come from a zygote: one can be asked now. */
CHECK_RESULT bool master_can_fork(struct master *m);

/* A worker of the present code in slot i, which is free. In the worker it
 * returns with m->role ROLE_WORKER. */
void master_fork_worker(struct master *m, unsigned i);

/* The same at a stop, for those who wait: this one loads the code before it
 * obeys SIGTERM. No zygote is asked: they have ended. */
void master_fork_last_worker(struct master *m, unsigned i);

/* Asks this zygote for a worker in slot i, which is taken on the board. */
void master_ask_zygote(struct master *m, const struct zygote *z, unsigned i);

/* A worker could not be forked: nothing is forked for the next second. */
void master_pause_forks(struct master *m, int err);

/* A process of this age has died without being asked to: at its start, or so
 * soon after it that the next one would die at once, too. Otherwise does
 * nothing. */
void master_back_off(struct master *m, bool at_start, int64_t age_ms);

/* -- in a new process ------------------------------------------------------ */

/* Closes what belongs to the master. */
void master_close_in_child(struct master *m);

/* After that, in a worker. */
void master_become_worker(struct master *m, unsigned i, pid_t master_pid);

#endif
