/*
 * stacks.h - the Python stacks of threads, for the log
 *
 * What:      what sys._current_frames() shows, one line a frame, the most recent
 *            call first. Where the GIL cannot be had in time (a C extension keeps
 *            it) each thread is asked by STACKS_SIGNAL instead and writes down its
 *            own stack, as faulthandler does.
 * Owner:     the process; one dump at a time.
 * Lifetime:  stacks_open() to the end of the process.
 * Threads:   stacks_open() the main thread; the rest one thread, any.
 * GIL:       not held by the caller.
 * Errors:    none: what cannot be found out is missing.
 * Blocks:    stacks_work(): without the GIL up to 0.1 s for each thread.
 */
#ifndef DEBUG_STACKS_H
#define DEBUG_STACKS_H

#include "base/compiler.h"
#include "os/log.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The number is ours; the man page says so. */
#define STACKS_SIGNAL (SIGRTMIN + 11)

/* After Python has started, and in a process forked from such a one. */
void stacks_open(void);

/* Begins to describe a dump: of all threads, or of those that are named alone.
 * False: none can be made now (Python has not started, another is being made). */
CHECK_RESULT bool stacks_prepare(enum log_level level, bool all);

/* A line on top, without its level and newline; id of the request, or "". */
void stacks_say(const char *id, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* What stands above the stack of a thread that runs now. */
void stacks_name(pthread_t id, pid_t tid, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* Begins to make it. */
void stacks_begin(int64_t now_ms);

/* To be called now and then. True: it is in the log (or none was begun). */
CHECK_RESULT bool stacks_work(int64_t now_ms);

#endif
