/*
 * site.h - folders of packages: .pth files, and what a user has installed
 *
 * What:      --python-path as site.addsitedir() has it, and whether --user-site
 *            can be had.
 * Owner:     nothing is kept.
 * Threads:   start only.
 * GIL:       held for site_add_folder(), no Python yet for the other.
 * Errors:    see each.                        Blocks: file system, name services.
 */
#ifndef PYTHON_SITE_H
#define PYTHON_SITE_H

#include "python/python.h"

#include "conf/config.h"

/* Inserts dir into sys.path. 0 or -1. */
CHECK_RESULT int site_insert_path(const char *dir, Py_ssize_t position);

/* Inserts dir (absolute) into sys.path at *at, behind it what its .pth files
 * name, and runs their import lines; moves *at behind all that. 0, or -1 with an
 * exception; a .pth file that fails is told on stderr and no error, as in
 * Python. */
CHECK_RESULT int site_add_folder(const char *dir, Py_ssize_t *at);

/* --user-site, as the user that the process is: Python would leave the folder
 * out without a word where its rules forbid it or it is not there, and take one
 * that somebody else owns. 0, or EX_CONFIG after one line. */
CHECK_RESULT int site_check_user(const struct config *config);

#endif
