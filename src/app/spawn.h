/*
 * spawn.h - children that multiprocessing starts with an interpreter of their own
 *
 * What:      "spawn" and "forkserver" run python3, which finds a function by the
 *            name of its module. A script has a module name that nobody else can
 *            import, or one under which another file is found. So the child is
 *            told which file each name stands for, and loads it, under that name,
 *            when it is asked for.
 * Owner:     the process; names are kept for its life.
 * Threads:   any.                                                  GIL: held.
 * Errors:    a Python exception.                                Blocks: never.
 */
#ifndef APP_SPAWN_H
#define APP_SPAWN_H

#include "python/python.h"

/* From here on children can import the file path as the module name. 0 or -1. */
CHECK_RESULT int spawn_add_script(PyObject *name, PyObject *path);

#endif
