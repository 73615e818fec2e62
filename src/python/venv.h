/*
 * venv.h - checks that our Python can use a virtual environment
 *
 * What:      the checks that CPython leaves out. Without them a virtual
 *            environment of another version, or an unreadable one, is noticed
 *            only when imports fail later, or by a fatal error without a
 *            reason.
 * Threads:   the main thread, at start.
 * GIL:       not needed; Python has not started.
 * Errors:    0, or EX_CONFIG (78) after one line on stderr.
 * Blocks:    on the file system.
 */
#ifndef PYTHON_VENV_H
#define PYTHON_VENV_H

#include "base/compiler.h"

#include <stdbool.h>

/* dir is absolute; exe is the interpreter that this program was built for.
 * with_user: the environment must also let in the packages of a user. */
CHECK_RESULT int venv_check(const char *dir, const char *exe, bool with_user);

/* Checks the installation itself: its standard library must exist. exe as
 * above. Warns if PYTHONHOME is set. */
CHECK_RESULT int venv_check_base(const char *exe);

#endif
