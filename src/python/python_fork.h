/*
 * python_fork.h - Python around a fork(): one process imports, others go on from there
 *
 * What:      what os.fork() does besides the fork, for workers that a process
 *            with a loaded application forks (--preload): hooks of the application
 *            and of the standard library run, locks and thread states are
 *            repaired, and what can be shared stays shared. And what os.fork()
 *            leaves out, for children of the application.
 * Owner:     the process; the thread that called interp_start().
 * Threads:   that one.
 * GIL:       not held by the caller; held from python_fork_begin() to python_fork_in_parent() or
 *            python_fork_in_child().
 * Errors:    none: what fails is reported by Python.
 * Blocks:    until the import lock and the GIL are free; hooks may.
 */
#ifndef PYTHON_PYTHON_FORK_H
#define PYTHON_PYTHON_FORK_H

#include "base/compiler.h"

/* Once, when all that is to be shared has been imported. Writes what waits in
 * open files, which otherwise each child would write; takes all objects there are
 * out of the garbage collector's sight, so that its marks do not unshare them;
 * warns of threads, which do not live on in a child. */
void python_fork_prepare(void);

/* Around fork(), also where it fails: one of the two follows. flush, with the GIL:
 * sends what this process has buffered itself. */
void python_fork_begin(void (*flush)(void));
void python_fork_in_parent(void);
void python_fork_in_child(void);

/* From here on a request thread other than the main one can fork, too: in the
 * child it is what threading calls the main thread. After `import threading`,
 * whose own hook must run before ours; GIL held. 0, or -1 with an exception. */
CHECK_RESULT int python_fork_register_hook(void);

#endif
