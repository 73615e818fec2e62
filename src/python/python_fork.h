/*
 * python_fork.h - Python before and after fork()
 *
 * What:      what os.fork() does besides the fork itself, for the workers that
 *            a process with a loaded application forks (--preload): hooks of
 *            the application and the standard library run, locks and thread
 *            states are repaired, and memory stays shared. Also what os.fork()
 *            leaves out for children of the application.
 * Owner:     the process.
 * Threads:   the thread that called interp_start().
 * GIL:       not held by the caller; held from python_fork_begin() to
 *            python_fork_in_parent() or python_fork_in_child(). Without one, too,
 *            it is one thread that forks.
 * Errors:    none: Python reports what fails.
 * Blocks:    until the import lock and the GIL are free; hooks may block.
 */
#ifndef PYTHON_PYTHON_FORK_H
#define PYTHON_PYTHON_FORK_H

#include "base/compiler.h"

/* Call it once, when everything to be shared has been imported. Flushes open
 * files, which otherwise each child would write again; freezes all objects,
 * because the garbage collector's marks would unshare their pages; warns about
 * threads, which do not exist in a child. */
void python_fork_prepare(void);

/* Call python_fork_begin() before fork(), and one of the other two after it, in
 * the parent also if fork() failed. flush runs with the GIL held and sends what
 * this process has buffered itself. */
void python_fork_begin(void (*flush)(void));
void python_fork_in_parent(void);
void python_fork_in_child(void);

/* Lets a request thread other than the main one fork: in the child it becomes
 * what threading calls the main thread. Call it after `import threading`, whose
 * own hook must run before this one, with the GIL held. 0, or -1 with an
 * exception. */
CHECK_RESULT int python_fork_register_hook(void);

#endif
