/*
 * control_thread.h - the thread that handles signals, deadlines and limits
 *
 * What:      stops and restarts the process, ends idle connections, serves the
 *            control socket where there is no master, watches requests that run
 *            and those that wait for a thread.
 * Owner:     worker.c starts it and waits for its end.
 * Lifetime:  from before the application is loaded until its requests have
 *            ended.
 * Threads:   one, with all signals blocked.    GIL: never taken;
 *            nor does this thread attach to a Python that has none.
 * Errors:    logs.                             Blocks: in poll().
 */
#ifndef WORKER_CONTROL_THREAD_H
#define WORKER_CONTROL_THREAD_H

#include "base/compiler.h"
#include "worker/graceful_stop.h"
#include "worker/pool.h"

/* 0 or -errno. */
CHECK_RESULT int control_thread_start(struct pool *p);

/* Waits for its end: all requests have ended that can end. *ret: how the
 * process is to go on, restart and end_ms. */
void control_thread_join(struct graceful_stop *ret);

#endif
