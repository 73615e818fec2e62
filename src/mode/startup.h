/*
 * startup.h - what comes before the first request, in every mode
 *
 * What:      the descriptors that the protocol is on taken away from 0 and 1; what
 *            of the configuration can be found wrong without Python; Python.
 * Owner:     the process.
 * Threads:   at start only.                          GIL: not held.
 * Errors:    a sysexits code after a log line, if nothing else is said.
 * Blocks:    on the file system; startup_start_python() as Python does.
 */
#ifndef MODE_STARTUP_H
#define MODE_STARTUP_H

#include "base/compiler.h"
#include "conf/config.h"

#include <stdbool.h>

/* Standard output belongs to the protocol: whatever prints there, in Python, in C
 * or in a child, must not reach the web server. ret_in, ret_out: what 0 and 1 were;
 * or both NULL. 0 or -errno, no log line. */
CHECK_RESULT int startup_take_stdio(int *ret_in, int *ret_out);

/* Looks for the application and for Python, and enters the folder to work in. */
CHECK_RESULT int startup_prepare(const struct config *config, bool is_cgi);

/* In the process that serves, where Python runs: --request-timeout can end
 * requests. */
CHECK_RESULT int startup_open_watch(const struct config *config);

/* Starts Python, and startup_open_watch(). */
CHECK_RESULT int startup_start_python(const struct config *config);

#endif
