/*
 * site.h - folders of packages: .pth files, and a user's packages
 *
 * What:      adds --python-path folders as site.addsitedir() does, and checks
 *            whether --user-site can work.
 * Owner:     nothing is kept.
 * Threads:   the main thread, at start.
 * GIL:       held, except for site_check_user(), which runs before Python
 *            starts. Without one, too, there is no other thread of this
 *            program yet.
 * Errors:    see each function.
 * Blocks:    on the file system and name services.
 */
#ifndef PYTHON_SITE_H
#define PYTHON_SITE_H

#include "python/python.h"

#include "conf/config.h"

/* Inserts dir into sys.path. 0, or -1 with an exception. */
CHECK_RESULT int site_insert_path(const char *dir, Py_ssize_t position);

/* Inserts dir (absolute) into sys.path at *at, and behind it the folders that
 * its .pth files name; runs their import lines. Moves *at behind all of these.
 * 0, or -1 with an exception. As in Python, a .pth file that fails is reported
 * on stderr and is no error. */
CHECK_RESULT int site_add_folder(const char *dir, Py_ssize_t *at);

/* Checks --user-site for the user that this process runs as. Python itself
 * silently leaves the folder out if its rules forbid it or if it does not
 * exist, and uses one that another user owns. 0, or EX_CONFIG after one log
 * line. */
CHECK_RESULT int site_check_user(const struct config *config);

#endif
