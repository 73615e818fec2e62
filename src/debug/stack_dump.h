/*
 * stack_dump.h - writes the Python stacks of threads to the log
 *
 * What:      what sys._current_frames() shows, one line for each frame, the
 *            most recent call first. If the GIL is not free in time (a C
 *            extension holds it), each thread writes its own stack instead
 *            (thread_stack.h). On a free-threaded Python each always does:
 *            nobody may look at the frames of a thread that runs.
 * Owner:     the process; one dump at a time.
 * Lifetime:  stack_dump_open() to the end of the process.
 * Threads:   stack_dump_open() the main thread; the rest one other thread.
 * GIL:       not held by the caller. One thread describes a dump; from
 *            stack_dump_begin() until its task has ended, the task writes it.
 * Errors:    none: what cannot be found out is missing.
 * Blocks:    stack_dump_work(): where threads write their own stacks, up to
 *            0.1 s for each; on a free-threaded Python up to a second for the
 *            first that does not answer.
 */
#ifndef DEBUG_STACK_DUMP_H
#define DEBUG_STACK_DUMP_H

#include "base/compiler.h"
#include "os/log.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Call it when Python has started, and again in a forked process. */
void stack_dump_open(void);

/* Begins to describe a dump of all threads, or only of those that
 * stack_dump_name() names. fd: a file for this dump, -1 = the log. False: no
 * dump is possible now (Python has not started, or another dump is being
 * made). */
CHECK_RESULT bool stack_dump_prepare(enum log_level level, bool all, int fd);

/* Adds a line at the top, without its level and newline. id: of a request, or
 * "". */
void stack_dump_say(const char *id, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Adds a thread with the line above its stack. */
void stack_dump_name(pthread_t id, pid_t tid, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* Gives the lines, as for the log of a web server, also to fn, before they are
 * in the log: in this thread or another one, without the GIL. */
void stack_dump_copy_to(void (*fn)(void *arg, const char *lines, size_t n),
                        void *arg);

/* Begins to make the dump that has been described. */
void stack_dump_begin(int64_t now_ms);

/* Call it regularly. True: the dump is in the log, or there is none. */
CHECK_RESULT bool stack_dump_work(int64_t now_ms);

#endif
