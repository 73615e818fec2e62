/*
 * notify.h - messages to systemd
 *
 * What:      the protocol of sd_notify(3) and sd_watchdog_enabled(3) without
 *            their library: datagrams to NOTIFY_SOCKET. If that is not set, all
 *            functions return at once.
 * Owner:     the process that systemd started: the master, or the one process.
 * Lifetime:  notify_open() to the end of the process.
 * Threads:   one at a time: the master's, or the control thread.
 * GIL:       not used.
 * Errors:    notify_open() logs; a datagram that cannot be sent now is sent in
 *            the next round.
 * Blocks:    never.
 * Standards: sd_notify(3), sd_watchdog_enabled(3).
 */
#ifndef STATUS_NOTIFY_H
#define STATUS_NOTIFY_H

#include "base/compiler.h"
#include "status/scoreboard.h"

#include <stdbool.h>
#include <stdint.h>

enum notify_state {
    NOTIFY_STARTING,
    NOTIFY_READY, /* a process serves */
    NOTIFY_RELOADING,
    NOTIFY_STOPPING
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and removes them from the
 * environment. Call it before --user takes effect: perhaps only root may
 * connect. After a restart, inherited_fd is the connection that the program had
 * before; else -1. */
void notify_open(int inherited_fd);

/* The connection, or -1. */
int notify_fd(void);

/* Removes the variables from the environment: the application must not send
 * messages in our name. */
void notify_hide(void);

/* In a forked child: closes the connection. Async-signal-safe. */
void notify_forget(void);

bool notify_is_on(void);

/* In every round: sends what has changed, and every ten seconds the counts of
 * the board. reloads: how many reloads have been requested. Each is reported,
 * even if it has ended already. */
void notify_tell(enum notify_state state, unsigned reloads,
                 struct scoreboard *board, int64_t now_ms);

/* at_most, or less if the next WATCHDOG=1 is due earlier. */
int notify_wait_ms(int64_t now_ms, int at_most);

/* True if half of the time that systemd allows has passed. */
bool notify_watchdog_is_due(int64_t now_ms);

/* Sends the keep-alive. The caller has checked that requests can continue. */
void notify_watchdog(int64_t now_ms);

#endif
