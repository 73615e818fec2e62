/*
 * control_thread.h - the thread that looks after a process: signals, deadlines, limits
 *
 * What:      stops and restarts the pool, ends idle connections, serves the
 *            control socket where there is no master, watches running requests and
 *            those that wait for a thread.
 * Owner:     worker.c starts it and waits for its end.
 * Threads:   one, with all signals blocked.    GIL: never: no Python here.
 * Errors:    logs.                             Blocks: in poll().
 */
#ifndef WORKER_CONTROL_THREAD_H
#define WORKER_CONTROL_THREAD_H

#include "base/compiler.h"
#include "worker/pool.h"

#include <stdint.h>

/* 0 or -errno. */
CHECK_RESULT int control_thread_start(struct pool *p);

/* Waits for its end. */
void control_thread_join(struct pool *p);

/* After that: until when (of clock_ms()) the end of Python may take. What is
 * left of --graceful-timeout, and a moment in any case. */
int64_t control_thread_end_ms(const struct pool *p);

/* All requests are done; what is left is Python's end. Where it does not come (a
 * thread of the application that never ends) the process ends without it at
 * end_ms, or at a second signal, with this status. p: to be closed then, or NULL. */
void control_thread_guard_end(int64_t end_ms, struct pool *p, int status);

/* Python's end has come: the caller does what is left, and nobody else. */
void control_thread_guard_over(void);

/* What the end of Python may take where the application has not been loaded to
 * serve: functions of atexit, but no threads. */
enum { CONTROL_THREAD_UNSERVED_MS = 5000 };

#endif
