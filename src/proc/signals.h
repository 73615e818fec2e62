/*
 * signals.h - the signals this process obeys
 *
 * What:      handlers that note what came and wake the control thread. Nothing is
 *            blocked, so that children of the application inherit a clean mask;
 *            an application may install handlers of its own.
 * Owner:     the process.
 * Threads:   handlers run on any; signals_wait() in the control thread.
 * GIL:       not used.        Errors: 0 or -errno.
 * Blocks:    signals_wait() only.
 */
#ifndef PROC_SIGNALS_H
#define PROC_SIGNALS_H

#include "base/compiler.h"

#include <stdbool.h>

/* What has been asked for since the start; only ever grows. */
enum signals_stop { STOP_NONE, STOP_GRACEFUL, STOP_NOW };

/* SIGPIPE and SIGXFSZ ignored or reset, the mask emptied: what a web server or
 * supervisor left behind must not reach the application. For every mode. */
void signals_init(void);

/* Handlers for TERM, USR1, HUP (finish and exit), INT, QUIT (stop now). A second
 * TERM or USR1 means now. */
CHECK_RESULT int signals_open(void);

/* Back to the default handlers, where ours are still in place; closes what
 * signals_open() opened. For a forked child; async-signal-safe. */
void signals_close(void);

/* Waits until a signal came or timeout_ms passed; what is asked for. */
enum signals_stop signals_wait(int timeout_ms);

/* The same without waiting. */
enum signals_stop signals_asked(void);

/* Makes signals_wait() return. */
void signals_wake(void);

#endif
