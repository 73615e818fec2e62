/*
 * interp.h - the embedded Python: start, request threads, the end
 *
 * What:      initialises CPython as the virtualenv's (or the system's) python
 *            would be, and ends it without Py_FinalizeEx but with nothing lost.
 * Owner:     the process; once.
 * Lifetime:  interp_start() to interp_finish().
 * Threads:   start and finish in the main thread.
 * GIL:       interp_start() returns with the GIL released (the main thread's
 *            state kept for wsgi_thread_new()); finish takes it.
 * Errors:    a sysexits code; one plain sentence has been logged.
 * Blocks:    start: file system; finish: until non-daemon threads ended.
 */
#ifndef PYTHON_INTERP_H
#define PYTHON_INTERP_H

#include "base/compiler.h"
#include "conf/config.h"

/* Checks --venv (version, readable, encodings found) and PYTHONHOME before any
 * Python runs. Before --chdir: a relative --venv is remembered as it is meant
 * then. 0 or EX_CONFIG (78). */
CHECK_RESULT int interp_check(const struct config *config);

/* What the parts above this file do at a start. */
struct interp_hooks {
    /* Before Python is initialised. 0, or -1: out of memory. */
    int (*before_start)(void);
    /* When it has started, GIL held. 0, or -1 with an exception. */
    int (*after_start)(void);
};

/* Starts Python. script is sys.argv[0] and may be NULL. 0 or EX_SOFTWARE. */
CHECK_RESULT int interp_start(const struct config *config, const char *script,
                              const struct interp_hooks *hooks);

/* threading shutdown, atexit, flush of every open writer, fflush. Afterwards the
 * caller leaves by _exit(); Python must not be used again. */
void interp_finish(void);

/* The same, but threads are not waited for. */
void interp_finish_without_threads(void);

/* "3.11.2, static libpython" for --version and --explain. */
const char *interp_version(void);

/* Absolute path of the interpreter that a start with this config would be. */
CHECK_RESULT int interp_executable(const struct config *config, char *to,
                                   size_t size);

#endif
