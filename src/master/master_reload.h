/*
 * master_reload.h - how a master brings in new code
 *
 * What:      a reload begins a new generation with one worker. When that
 *            serves, the others follow and the old ones leave; when the new
 *            code does not load, the old one stays.
 * Owner:     the master.
 * Threads:   one.                                                GIL: not used.
 * Errors:    logs.                                               Blocks: never.
 */
#ifndef MASTER_MASTER_RELOAD_H
#define MASTER_MASTER_RELOAD_H

#include "base/compiler.h"
#include "master/master_state.h"

#include <stdint.h>

/* In every round. Loads new code where files have changed, or is_asked: by a
 * signal. While nobody serves, a load that is under way is finished first. */
void master_consider_reload(struct master *m, int64_t now, bool is_asked);

/* While m->reloading, in every round; old: workers of older code. Gives up
 * where the new code takes too long. */
void master_watch_reload(struct master *m, unsigned old, int64_t now);

/* The same: replaces what has died of the old code. How many workers of it
 * there are, and will be. */
CHECK_RESULT unsigned master_replace_old(struct master *m, unsigned old,
                                         int64_t now);

/* How many workers of the present code there should be now. */
CHECK_RESULT unsigned master_wanted_workers(const struct master *m,
                                            unsigned old);

/* A worker or zygote could not load the application. With --need-app the master
 * stops where no worker serves it: m->status is the exit code. */
void master_judge_unloaded(struct master *m);

/* The new code does not load: those that serve the old one go on. */
void master_give_up_reload(struct master *m);

#endif
