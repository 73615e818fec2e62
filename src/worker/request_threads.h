/*
 * request_threads.h - the threads that run requests
 *
 * What:      each waits in the poller for a connection with input, serves it,
 *            and waits again, until all connections have ended at a stop. The
 *            main thread is the first one; --threads N adds N - 1.
 * Owner:     the pool.
 * Lifetime:  request_threads_new() to request_threads_free().
 * Threads:   as said.
 * GIL:       a thread takes it to run a request, and has released it again when
 *            it waits. Nothing here is protected by it.
 * Errors:    0 or -errno.
 * Blocks:    request_threads_run_main(), request_threads_join(): until the
 *            threads have ended.
 */
#ifndef WORKER_REQUEST_THREADS_H
#define WORKER_REQUEST_THREADS_H

#include "base/compiler.h"
#include "worker/pool.h"

#include <stdbool.h>

CHECK_RESULT int request_threads_new(struct pool *p);
void request_threads_free(struct pool *p);

/* Starts all but the main one. Where that fails some may run already: the
 * process has to end. */
CHECK_RESULT int request_threads_start(struct pool *p);

/* After that: the main thread's part. */
void request_threads_run_main(struct pool *p);

/* Nobody waits for the end of this thread: nothing can end its request. */
void request_threads_abandon(struct pool *p, unsigned thread);

/* Waits for all but the main one. False where some were abandoned: they may
 * still use what the pool has. The main thread calls it, or the control thread
 * where the main one is lost. */
bool request_threads_join(struct pool *p);

#endif
