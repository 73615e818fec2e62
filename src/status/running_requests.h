/*
 * running_requests.h - says in the log which requests a stop waits for, and
 *                      which it cuts off
 *
 * What:      reads the scoreboard.
 * Owner:     the process.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none.                                 Blocks: while the log does.
 */
#ifndef STATUS_RUNNING_REQUESTS_H
#define STATUS_RUNNING_REQUESTS_H

#include "os/log.h"
#include "status/scoreboard.h"

#include <stdint.h>

/* At the begin of a stop: for how many requests of all processes it waits, and
 * for how long at most. Nothing where none runs. */
void running_requests_log_wait(struct scoreboard *b, int64_t most_ms);

/* How many requests, and works after one, of a process a stop waits for. */
unsigned running_requests_count(struct scoreboard *b, unsigned worker);

/* The requests of one process that are cut off now: a line for each, up to a
 * limit. */
void running_requests_log_cut_off(struct scoreboard *b, unsigned worker,
                                  enum log_level level);

#endif
