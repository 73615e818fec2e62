/*
 * startup.h - what all modes do before the first request
 *
 * What:      moves the descriptors of the protocol away from 0 and 1, checks
 *            the configuration as far as that is possible without Python,
 *            starts Python.
 * Owner:     the process.
 * Threads:   only at the start.                                  GIL: not held.
 * Errors:    a sysexits code after a log line, except startup_take_stdio().
 * Blocks:    file system; startup_start_python() as long as Python takes.
 */
#ifndef MODE_STARTUP_H
#define MODE_STARTUP_H

#include "base/compiler.h"
#include "conf/config.h"

#include <stdbool.h>

/* Moves standard input and output away and puts /dev/null and standard error in
 * their place: output of Python, C libraries and child processes must not reach
 * the web server. ret_in, ret_out: the new descriptors, or both NULL to close
 * them. Returns 0 or -errno, without a log line. */
CHECK_RESULT int startup_take_stdio(int *ret_in, int *ret_out);

/* Checks the application and Python, loads libm for it, and changes to the
 * working directory. */
CHECK_RESULT int startup_prepare(const struct config *config, bool is_cgi);

/* Call this in the process that serves, when Python runs: from now on
 * --request-timeout can interrupt requests. */
CHECK_RESULT int startup_open_watch(const struct config *config);

/* Starts Python, and calls startup_open_watch(). */
CHECK_RESULT int startup_start_python(const struct config *config);

#endif
