/*
 * worker.h - a process that serves requests
 *
 * What:      a worker of a master, or the only process: its request threads
 *            (pool.h), the control thread (control_thread.h) that stops and
 *            restarts them, and the end of Python after that.
 * Owner:     the process: there is one worker in it.
 * Lifetime:  worker_open() to the end of the process: threads in requests that
 *            nothing can end still use it.
 * Threads:   the main thread calls this.       GIL: not held by the caller.
 * Errors:    a sysexits code after a log line.
 * Blocks:    worker_run(): until asked to stop.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "base/compiler.h"
#include "worker/worker_setup.h"

#include <stdbool.h>

struct worker;

/* From here on signals are obeyed. Until worker_run() a stop ends the process
 * at once with status 0, since nothing has been promised yet. (After a restart
 * clients have waited for this process: it serves them before it stops.) 0 or
 * EX_OSERR. */
CHECK_RESULT int worker_open(const struct worker_setup *setup,
                             struct worker **ret);

/* Python runs and the application has been loaded; where loaded is false it
 * could not be, and requests are answered with error pages. Serves until asked
 * to stop, finishes Python, and returns the exit code; or executes the program
 * again on the same sockets. At a forced stop, or when --graceful-timeout
 * passes, it does not return but ends the process with status 0. */
CHECK_RESULT int worker_run(struct worker *w, bool loaded);

/* Removes the sockets and the pid file that were made here. Again: nothing. */
void worker_close(struct worker *w);

#endif
