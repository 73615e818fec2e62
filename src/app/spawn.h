/*
 * spawn.h - scripts in children that multiprocessing spawns
 *
 * What:      "spawn" and "forkserver" run python3, which finds a function by
 *            the name of its module. But no other process can import a script
 *            by the name it has here, or would find another file under it. So
 *            the child gets the file of each script's name, and imports it
 *            under that name on demand.
 * Owner:     the process; names are kept until it ends.
 * Threads:   any.
 * GIL:       held. Without one, a lock guards the pointer to the dict of names,
 *            and the dict itself.
 * Errors:    a Python exception.
 * Blocks:    never.
 */
#ifndef APP_SPAWN_H
#define APP_SPAWN_H

#include "python/python.h"

/* Lets children import the file path as the module name. 0, or -1 with an
 * exception. */
CHECK_RESULT int spawn_add_script(PyObject *name, PyObject *path);

#endif
