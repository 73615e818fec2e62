/*
 * service_log.h - the lines "started: ..." and "stopped: ..." of a service
 *
 * What:      one line when the service is ready, with all that an administrator
 *            wants to know of it, and one when it has ended. Only a master, or
 *            the one process without a master, calls this. In between they may
 *            execute the program again: that is still the same service.
 * Owner:     the process.
 * Lifetime:  from service_log_started() to service_log_stopped().
 * Threads:   any: a lock keeps the two lines in order.           GIL: not used.
 * Errors:    none.
 * Blocks:    on /etc/passwd, and while the log does.
 */
#ifndef PROCESS_SERVICE_LOG_H
#define PROCESS_SERVICE_LOG_H

#include "conf/config.h"
#include "net/listener.h"
#include "status/scoreboard.h"

#include <stdbool.h>
#include <stddef.h>

/* The program has executed itself again: the service has started long ago. */
void service_log_continue(void);

/* After service_log_continue() it logs nothing. */
void service_log_started(const struct config *config,
                         const struct listener *listeners, size_t nlisteners);

/* why: the reason, or NULL: the signal that has arrived. Without
 * one of the two before: nothing. From here on this thread does not wait for
 * the reader of the log. */
void service_log_stopped(struct scoreboard *board, const char *why);

/* Root's rights are for --user to give up. Logs a warning where they stay. */
void service_log_root(const struct config *config);

#endif
