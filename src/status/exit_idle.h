/*
 * exit_idle.h - for how long nothing has come (--exit-idle)
 *
 * What:      watches the scoreboard: connections, requests and work after
 *            them. A connection that is kept and carries no request does not
 *            count, nor do those to --control.
 * Owner:     the process that can end the program: the master or the one
 *            process.
 * Threads:   one: the master's, or the control thread.           GIL: not used.
 * Errors:    none.                                               Blocks: never.
 */
#ifndef STATUS_EXIT_IDLE_H
#define STATUS_EXIT_IDLE_H

#include "base/compiler.h"
#include "status/scoreboard.h"

#include <stdbool.h>
#include <stdint.h>

/* What the line "stopped: ..." has as the reason. */
#define EXIT_IDLE_REASON "nothing has come for --exit-idle"

/* Zero at first. */
struct exit_idle {
    uint64_t seen;    /* connections and requests at the last look */
    int64_t since_ms; /* clock_ms() of the last look that saw something, 0 =
                       * there was none */
};

/* In every round. True where nothing has come for limit_ms; 0 = no limit. */
CHECK_RESULT bool exit_idle_is_due(struct exit_idle *e, struct scoreboard *b,
                                   int64_t limit_ms, int64_t now_ms);

/* How many ms to wait for the next look, at_most or less. */
CHECK_RESULT int exit_idle_pause(const struct exit_idle *e, int64_t limit_ms,
                                 int64_t now_ms, int at_most);

#endif
