/*
 * stack_dump.h - the Python stacks of threads, for the log
 *
 * What:      what sys._current_frames() shows, one line a frame, the most recent
 *            call first. Where the GIL cannot be had in time (a C extension keeps
 *            it) each thread is asked by STACK_DUMP_SIGNAL instead and writes down its
 *            own stack, as faulthandler does.
 * Owner:     the process; one dump at a time.
 * Lifetime:  stack_dump_open() to the end of the process.
 * Threads:   stack_dump_open() the main thread; the rest one thread, any.
 * GIL:       not held by the caller.
 * Errors:    none: what cannot be found out is missing.
 * Blocks:    stack_dump_work(): without the GIL up to 0.1 s for each thread.
 */
#ifndef DEBUG_STACK_DUMP_H
#define DEBUG_STACK_DUMP_H

#include "base/compiler.h"
#include "os/log.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The number is ours; the man page says so. */
#define STACK_DUMP_SIGNAL (SIGRTMIN + 11)

/* After Python has started, and in a process forked from such a one. */
void stack_dump_open(void);

/* Begins to describe a dump: of all threads, or of those that are named alone.
 * False: none can be made now (Python has not started, another is being made). */
CHECK_RESULT bool stack_dump_prepare(enum log_level level, bool all);

/* A line on top, without its level and newline; id of the request, or "". */
void stack_dump_say(const char *id, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* What stands above the stack of a thread that runs now. */
void stack_dump_name(pthread_t id, pid_t tid, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* Begins to make it. */
void stack_dump_begin(int64_t now_ms);

/* To be called now and then. True: it is in the log (or none was begun). */
CHECK_RESULT bool stack_dump_work(int64_t now_ms);

#endif
