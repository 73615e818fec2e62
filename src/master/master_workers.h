/*
 * master_workers.h - the workers of a master: slots, counts, signals
 *
 * What:      gives out the slots of the scoreboard, counts what the workers do,
 *            makes them leave, and kills those that do not.
 * Owner:     the master.
 * Threads:   one.                                                GIL: not used.
 * Errors:    logs.                                               Blocks: never.
 */
#ifndef MASTER_MASTER_WORKERS_H
#define MASTER_MASTER_WORKERS_H

#include "base/compiler.h"
#include "master/master_state.h"
#include "status/scoreboard.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* -- slots ----------------------------------------------------------------- */

/* A free slot; -1 until a worker that leaves has ended. */
CHECK_RESULT int master_take_slot(struct master *m);

void master_free_slot(struct master *m, unsigned i);

/* -- what they do ---------------------------------------------------------- */

struct worker_counts {
    unsigned current; /* of this generation, starting or serving, staying */
    unsigned old;     /* of older ones, the same */
    unsigned serving; /* all that serve and stay */
    unsigned ready;   /* of them, of this generation and not to be recycled */
    unsigned broken;  /* of those, with error pages only */
    unsigned alive;
};

struct worker_counts master_count_workers(const struct master *m);

/* "was killed by signal 9 (KILL)", of a wait status; returns to. */
const char *master_how_it_ended(int status, char *to, size_t size);

/* True where a process serves the application. Any process may ask. */
bool master_has_ready_workers(struct scoreboard *b);

/* -- signals --------------------------------------------------------------- */

void master_signal_workers(struct master *m, int number);

/* Makes the worker in slot i leave, by SIGTERM, SIGQUIT or SIGKILL. */
void master_dismiss_worker(struct master *m, unsigned i, int signal_number);

/* The same by SIGTERM, for one that is idle. A request that has come meanwhile has
 * the time that it needs. */
void master_retire_worker(struct master *m, unsigned i);

/* The one that is needed least: old code first. */
void master_dismiss_one(struct master *m);

/* Kills those that should have left by now. */
void master_kill_overdue(struct master *m, int64_t now);

/* Until when (clock_ms()) a zygote may take that is to leave now. */
int64_t master_zygote_end_ms(const struct master *m);

#endif
