/*
 * check.h - --check: does the application load?
 *
 * What:      as the user who would run it, and without serving anything. A process
 *            that is about to take new code asks it that way, too (restart.h).
 * Owner:     main().
 * Threads:   the main thread.                                    GIL: not held.
 * Errors:    the exit code: a sysexits code after a log line.
 * Blocks:    as the application does.
 */
#ifndef MODE_CHECK_H
#define MODE_CHECK_H

#include "base/compiler.h"
#include "conf/config.h"

CHECK_RESULT int check_run(const struct config *config);

#endif
