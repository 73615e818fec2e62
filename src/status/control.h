/*
 * control.h - the control socket: status and ping while every worker is busy
 *
 * What:      a small FastCGI responder of its own, answered by the master (or the
 *            control thread of the one process) from the scoreboard.
 * Owner:     the process that made it.
 * Threads:   one.                                                GIL: not used.
 * Errors:    control_open(): a sysexits code after one log line; later faults end
 *            a connection, silently.
 * Blocks:    never.
 * Standards: FastCGI 1.0.
 */
#ifndef STATUS_CONTROL_H
#define STATUS_CONTROL_H

#include "base/compiler.h"
#include "conf/config.h"
#include "status/scoreboard.h"

#include <stdbool.h>

struct control;
struct listener;
struct stat;

/* Listens on config->control; inherited_fd: the socket that an earlier run of this
 * program made for it, else -1; and file: what else it made (see net/listener.h). */
CHECK_RESULT int control_open(const struct config *config,
                              struct scoreboard *board, int inherited_fd,
                              const struct stat *file,
                              struct control **ret_control);

/* Readable (in poll's sense) when control_run() has something to do. */
int control_fd(const struct control *c);

/* What a later run of the program may inherit. */
const struct listener *control_listener(const struct control *c);

/* Does what can be done now; also ends connections that are idle too long. */
void control_run(struct control *c);

/* In a forked worker: closes the descriptors, leaves the socket file. */
void control_forget(struct control **c);

/* In a child that the application has forked: closes the descriptors, or clients
 * would wait for its end, and the address be taken until then. c may be NULL.
 * Async-signal-safe. */
void control_close_in_child(struct control *c);

void control_close(struct control **c);

#endif
