/*
 * control.h - the control socket: status and ping while all workers are busy
 *
 * What:      a small FastCGI responder that answers from the scoreboard.
 * Owner:     the master, or the one process.
 * Lifetime:  until control_close(), or control_forget() in a worker.
 * Threads:   one: the master's, or the control thread.           GIL: not used.
 * Errors:    control_open(): a sysexits code after one log line; later errors
 *            close a connection without a log line.
 * Blocks:    never.
 * Standards: FastCGI 1.0.
 */
#ifndef STATUS_CONTROL_H
#define STATUS_CONTROL_H

#include "base/compiler.h"
#include "status/status.h"

#include <stdbool.h>

struct control;
struct listener;
struct stat;

/* Listens on --control. After a restart, inherited_fd is the socket that
 * the program had before (else -1), and file is its socket file (see
 * net/listener.h). */
CHECK_RESULT int control_open(const struct status_source *from,
                              int inherited_fd, const struct stat *file,
                              struct control **ret_control);

/* This descriptor becomes readable when control_run() has something to do. */
int control_fd(const struct control *c);

/* The listener, which the program passes on when it restarts. */
const struct listener *control_listener(const struct control *c);

/* Does what is possible now, and closes connections that are idle too long. */
void control_run(struct control *c);

/* In a forked worker: closes the descriptors, leaves the socket file. */
void control_forget(struct control **c);

/* In a child that the application has forked: closes the descriptors. Otherwise
 * clients would wait for the child's end, and it would occupy the address. c
 * may be NULL. Async-signal-safe. */
void control_close_in_child(struct control *c);

/* Closes everything and removes the socket file. */
void control_close(struct control **c);

#endif
