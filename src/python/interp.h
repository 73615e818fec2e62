/*
 * interp.h - the embedded Python interpreter: start and end
 *
 * What:      initialises CPython as the python executable of the virtual
 *            environment (or of the system) would be, and ends it without
 *            Py_FinalizeEx() but with nothing lost. wsgi/wsgi_python.c starts
 *            it.
 * Owner:     the process; once.
 * Lifetime:  interp_start() to interp_finish().
 * Threads:   the main thread.
 * GIL:       interp_start() returns with the GIL released; wsgi_thread_new()
 *            uses the main thread's state. interp_finish() takes the GIL. Without
 *            one, too, all data here is the main thread's.
 * Errors:    a code of <sysexits.h>, after one sentence in the log.
 * Blocks:    start: on the file system; finish: until non-daemon threads have
 *            ended.
 */
#ifndef PYTHON_INTERP_H
#define PYTHON_INTERP_H

#include "base/compiler.h"
#include "conf/config.h"

/* Checks --venv (its version, whether it is readable, whether Python would find
 * its encodings) and PYTHONHOME before any Python runs. Call it before chdir():
 * a relative --venv is made absolute here. 0 or EX_CONFIG (78). */
CHECK_RESULT int interp_check(const struct config *config);

/* What higher layers do when Python starts. */
struct interp_hooks {
    /* Before Python is initialised. 0, or -1 when out of memory. */
    int (*before_start)(void);
    /* After Python has been initialised, with the GIL held. 0, or -1 with an
     * exception. */
    int (*after_start)(void);
};

/* Starts Python. script becomes sys.argv[0] and may be NULL. 0 or
 * EX_SOFTWARE. */
CHECK_RESULT int interp_start(const struct config *config, const char *script,
                              const struct interp_hooks *hooks);

/* Waits for non-daemon threads, runs the atexit functions, flushes every open
 * writer and the C streams. The caller must then leave by _exit(); Python must
 * not be used again. */
void interp_finish(void);

/* The same without waiting for threads. */
void interp_finish_without_threads(void);

/* For --version and --explain, such as "3.11.2, static libpython". Of a
 * free-threaded Python also whether its GIL is on. */
const char *interp_version(void);

/* "3.11.2", or "3.13.5 free-threaded". */
const char *interp_name(void);

/* The absolute path of the python executable that a start with this
 * configuration stands for. 0 or -errno. */
CHECK_RESULT int interp_executable(const struct config *config, char *to,
                                   size_t size);

#endif
