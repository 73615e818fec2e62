/*
 * master.h - the process that has no Python and keeps workers running
 *
 * What:      forks workers, reaps them, waits longer and longer where they die
 *            at their start, replaces those that ask for it, and brings in new
 *            code generation by generation.
 * Owner:     mode/fcgi_process.c.
 * Lifetime:  master_run(); the workers end before it.
 * Threads:   one.                                                GIL: not used.
 * Errors:    a sysexits code after a log line.     Blocks: until asked to stop.
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include "base/compiler.h"
#include "worker/worker_setup.h"

enum { MASTER_IS_WORKER = -1 };

/* How many slots the scoreboard needs: room for a whole new generation, and for
 * TTIN. */
unsigned master_slots(const struct config *config);

/* Runs config->processes workers on a board with master_slots(). In a worker it
 * returns MASTER_IS_WORKER with worker and master_wake_fd of the setup filled
 * in; in the master, when all has ended, the exit code. */
CHECK_RESULT int master_run(struct worker_setup *setup);

#endif
