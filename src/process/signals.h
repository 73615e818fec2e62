/*
 * signals.h - the signals that this process handles
 *
 * What:      handlers that count signals and wake signals_wait(). No signal is
 *            blocked, so that child processes of the application inherit an
 *            empty mask. The application may install its own handlers and
 *            restore ours.
 * Owner:     the process; a forked worker opens its own.
 * Lifetime:  signals_open() to the end of the process, or signals_close().
 * Threads:   handlers run on any; signals_wait() in one thread.  GIL: not used.
 * Errors:    0 or -errno.
 * Blocks:    only signals_wait().
 */
#ifndef PROCESS_SIGNALS_H
#define PROCESS_SIGNALS_H

#include "base/compiler.h"

#include <stdbool.h>

enum signals_stop { STOP_NONE, STOP_GRACEFUL, STOP_NOW };

/* The signals since signals_open(). The counts never decrease. */
struct signals {
    enum signals_stop stop;
    int stop_number;  /* of the first signal that asked for it, 0 = none */
    unsigned reloads; /* HUP */
    unsigned reopens; /* USR1, unless it stops */
    unsigned dumps;   /* USR2 */
    unsigned more;    /* TTIN */
    unsigned less;    /* TTOU */
};

/* Ignores SIGPIPE and SIGXFSZ, as Python does, resets SIGCHLD and empties the
 * mask: the application must not get the settings of a web server or
 * supervisor. In every mode, before anything is written. held: our signals
 * are blocked, by this program or by the one that has executed it, and stay so
 * until signals_open(). */
void signals_init(bool held);

/* Blocks our signals in this thread until signals_open(), also across execve()
 * or fork(). Otherwise they would be lost or kill the process in between. */
void signals_hold(void);

/* The same for a process with other threads, and without an end: execve() would
 * lose a signal that another thread has got. */
void signals_hold_for_exec(void);

/* Ends signals_hold() without signals_open(). */
void signals_release(void);

/* What USR1 asks for, here and in forked children: to open the log files again,
 * as administrators know it from php-fpm, nginx and gunicorn; or to stop like
 * TERM, which is the default, because FastCGI spawners send it for that. Call
 * it before signals_open(). */
void signals_set_usr1(bool reopens_logs);

/* Installs handlers for TERM (finish and exit; the second one: exit now), USR1
 * (see above), INT and QUIT (stop now), HUP, USR2, TTIN, TTOU; with_children
 * also CHLD, for a master. A second call does nothing. In a forked worker, the
 * handlers stay and the counts begin at zero. */
CHECK_RESULT int signals_open(bool with_children);

/* Instead of signals_open(), in the child that checks new code: the signals that
 * ask a server for something do not end it. It has the server's name, so that
 * `pkill -USR1 wsgi-cgi` reaches it as well. */
void signals_spare(void);

/* Replaces our handlers by the default ones, and closes what signals_open()
 * opened. For a forked child; async-signal-safe. */
void signals_close(void);

/* The signals of a process with Python, for python/python_signals.h. */
struct python_signals;
const struct python_signals *signals_own(void);

/* The signals so far. */
struct signals signals_get(void);

/* Waits until a signal has arrived, one of two other descriptors (-1 = none) is
 * readable, or timeout_ms have passed. True: a signal, or the first descriptor.
 * Without signals_open(), as with --check, signals do not end it. */
bool signals_wait(int timeout_ms, int fd, int second_fd);

/* Makes signals_wait() return. */
void signals_wake(void);

/* In a forked worker, before its own signals_open(). A second TERM then has no
 * effect (the master uses QUIT to force an end), and SIGCHLD belongs to the
 * application. Returns the descriptor that wakes the master's signals_wait()
 * when 8 bytes are written to it; it stays open. */
int signals_keep_wake_fd(void);

#endif
