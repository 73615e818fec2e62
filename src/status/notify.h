/*
 * notify.h - telling systemd how we are
 *
 * What:      the protocol of sd_notify(3) and sd_watchdog_enabled(3), without
 *            their library: datagrams to NOTIFY_SOCKET. Where that is not set
 *            every function returns at once.
 * Owner:     the process that systemd started: the master, or the one process.
 * Threads:   one at a time: the master's, or the control thread.      GIL: not used.
 * Errors:    notify_open() logs; a datagram that cannot be sent now is sent with
 *            the next round.                                  Blocks: never.
 */
#ifndef STATUS_NOTIFY_H
#define STATUS_NOTIFY_H

#include "base/compiler.h"
#include "status/scoreboard.h"

#include <stdbool.h>
#include <stdint.h>

enum notify_state {
    NOTIFY_STARTING,
    NOTIFY_READY, /* somebody serves */
    NOTIFY_RELOADING,
    NOTIFY_STOPPING
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and hides them. Before
 * --user: root may be the only one who can connect. inherited_fd: the connection
 * that an earlier run of this program made, else -1. */
void notify_open(int inherited_fd);

/* That connection, or -1. */
int notify_fd(void);

/* Takes them out of the environment: nothing of the application speaks for us. */
void notify_hide(void);

/* In a forked child; async-signal-safe. */
void notify_forget(void);

bool notify_is_on(void);

/* Every round: sends what has changed, and now and then the counts of the board.
 * reloads: how often a reload was asked for; each is told, also one that is over
 * by now. */
void notify_tell(enum notify_state state, unsigned reloads,
                 struct scoreboard *board, int64_t now_ms);

/* at_most, or less where the next WATCHDOG=1 is due before. */
int notify_wait_ms(int64_t now_ms, int at_most);

/* Half of the time that systemd gives us has passed. */
bool notify_watchdog_is_due(int64_t now_ms);

/* We are alive. The caller has looked whether that is true. */
void notify_watchdog(int64_t now_ms);

#endif
