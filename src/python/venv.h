/*
 * venv.h - is this virtual environment one that our Python can use?
 *
 * What:      the checks CPython leaves out: a virtualenv of another version, or
 *            one that cannot be read, is otherwise only noticed by imports that
 *            fail later, or by a fatal error without a reason.
 * Threads:   start only, before Python.                           GIL: none yet.
 * Errors:    0 or EX_CONFIG (78) after one sentence on stderr.
 * Blocks:    file system.
 */
#ifndef PYTHON_VENV_H
#define PYTHON_VENV_H

#include "base/compiler.h"

#include <stdbool.h>

/* dir is absolute; exe is the interpreter this program was built for.
 * with_user: it must let in the packages of a user as well. */
CHECK_RESULT int venv_check(const char *dir, const char *exe, bool with_user);

/* The same for the installation itself: its standard library must be there.
 * exe as above. Warns of PYTHONHOME. */
CHECK_RESULT int venv_check_base(const char *exe);

#endif
