/*
 * pool.h - the request threads of one process, and the control thread
 *
 * What:      runs FastCGI on a set of listeners until a signal asks to stop.
 *            The calling thread is a request thread; --threads N adds N - 1.
 *            One control thread, without Python, owns signals and deadlines.
 * Owner:     main().
 * Lifetime:  pool_run() from beginning to end.
 * Threads:   as said.           GIL: not held by the caller.
 * Errors:    a sysexits code after a log line.
 * Blocks:    until asked to stop.
 */
#ifndef PROC_POOL_H
#define PROC_POOL_H

#include "base/compiler.h"
#include "conf/config.h"
#include "net/allow.h"
#include "net/listener.h"

#include <stddef.h>

struct pool;

/* From here on signals are obeyed: until pool_run() a stop ends the process at
 * once with status 0, since nothing has been promised yet. 0 or EX_OSERR. The
 * arguments are borrowed for the life of the process. */
CHECK_RESULT int pool_open(const struct config *config,
                           struct listener *listeners, size_t nlisteners,
                           const struct allow *allow, struct pool **ret_pool);

/* Python has been started and the application loaded. Returns 0 when every
 * request thread has ended; the process is then alone and may finish Python. At
 * a forced stop, or when --graceful-timeout passes, it does not return but ends
 * the process with status 0. */
CHECK_RESULT int pool_run(struct pool *pool);

#endif
