/*
 * check.h - --check: does the application load?
 *
 * What:      loads the application as the user that would run it, and serves
 *            nothing. A process that is about to load new code runs this in a
 *            child process first (restart.h).
 * Owner:     main().
 * Lifetime:  the process.
 * Threads:   the main thread.                                    GIL: not held.
 * Errors:    the exit code: a sysexits code after a log line.
 * Blocks:    as long as the application takes to load.
 */
#ifndef MODE_CHECK_H
#define MODE_CHECK_H

#include "base/compiler.h"
#include "conf/config.h"

/* mode: how the program was started. argv: for the title of the child process,
 * and for the name of the instance that --keep-warm would use. */
CHECK_RESULT int check_run(const struct config *config, enum config_mode mode,
                           char **argv);

#endif
