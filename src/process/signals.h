/*
 * signals.h - the signals this process obeys
 *
 * What:      handlers that count what came and wake whoever waits. Nothing is
 *            blocked, so that children of the application inherit a clean mask;
 *            an application may install handlers of its own, and put ours back.
 * Owner:     the process; a forked worker opens its own.
 * Threads:   handlers run on any; signals_wait() in one thread.
 * GIL:       not used.        Errors: 0 or -errno.
 * Blocks:    signals_wait() only.
 */
#ifndef PROCESS_SIGNALS_H
#define PROCESS_SIGNALS_H

#include "base/compiler.h"

#include <stdbool.h>

enum signals_stop { STOP_NONE, STOP_GRACEFUL, STOP_NOW };

/* What has come since signals_open(); counts only ever grow. */
struct signals {
    enum signals_stop stop;
    unsigned reloads; /* HUP */
    unsigned dumps;   /* USR2 */
    unsigned more;    /* TTIN */
    unsigned less;    /* TTOU */
};

/* SIGPIPE and SIGXFSZ ignored, as Python itself does, SIGCHLD reset, the mask
 * emptied: what a web server or supervisor left behind must not reach the
 * application. For every mode, before anything is written.
 * restarted: signals_hold() was called before, and still holds. */
void signals_init(bool restarted);

/* Keeps our signals waiting from here on, through execve() or fork(), until
 * signals_open() of the next run: between the two they would just kill the
 * process, or be lost. In this thread. */
void signals_hold(void);

/* The same where there are other threads, for good: execve() would forget what one
 * of them had got. */
void signals_hold_for_exec(void);

/* The end of signals_hold() where it was not for a new program. */
void signals_release(void);

/* Handlers for TERM, USR1 (finish and exit; again: now), INT, QUIT (stop now),
 * HUP, USR2, TTIN, TTOU; with_children also CHLD, for a master. Again: nothing.
 * In a forked worker it starts anew, with nothing having come; the handlers are
 * there already. */
CHECK_RESULT int signals_open(bool with_children);

/* Back to the default handlers, where ours are still in place; closes what
 * signals_open() opened. For a forked child; async-signal-safe. */
void signals_close(void);

/* For python/python_signals.h: those of a process with Python. */
struct python_signals;
const struct python_signals *signals_own(void);

/* What has come. */
struct signals signals_get(void);

/* Waits until a signal came, one of two other descriptors (-1 = none) is readable,
 * or timeout_ms passed. True where it was more than the second descriptor. */
bool signals_wait(int timeout_ms, int fd, int second_fd);

/* Makes signals_wait() return. */
void signals_wake(void);

/* In a forked worker, before its own signals_open(): from here on a second TERM
 * is as good as one (the master's means of force is QUIT). The descriptor that wakes
 * the master's signals_wait() when 8 bytes are written; it stays open. SIGCHLD is
 * the application's from here on. */
int signals_keep_wake_fd(void);

#endif
