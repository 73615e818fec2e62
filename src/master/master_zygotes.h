/*
 * master_zygotes.h - what the master does with its zygotes (--preload)
 *
 * What:      starts one for each generation of the code, reads what they
 *            report, and makes them leave after their workers.
 * Owner:     the master.
 * Threads:   one.                                                GIL: not used.
 * Errors:    logs.                                               Blocks: never.
 */
#ifndef MASTER_MASTER_ZYGOTES_H
#define MASTER_MASTER_ZYGOTES_H

#include "base/compiler.h"
#include "master/master_state.h"
#include "master/zygote_table.h"

#include <stdbool.h>
#include <stdint.h>

/* What zygotes have reported since. */
void master_read_messages(struct master *m);

/* Starts a zygote for the present code; the others leave after their workers.
 * m->role changes in a zygote, and in the workers that it forks. */
void master_update_zygotes(struct master *m, int64_t now);

/* Its process has ended. */
void master_reap_zygote(struct master *m, struct zygote *z, int status);

/* Kills those that do not do what they were asked for. */
void master_watch_zygotes(struct master *m, int64_t now);

void master_signal_zygotes(const struct master *m, int number);

/* At a stop: ends those that only load, or all. The others wait for the
 * workers. */
void master_stop_zygotes(struct master *m, bool all);

/* When the workers have ended: lets the zygotes go. True when all have
 * ended. */
CHECK_RESULT bool master_dismiss_zygotes(struct master *m);

#endif
