/*
 * python_signals.h - how Python's signal module shows the program's signals
 *
 * What:      gives Python a callable for each signal that this program handles.
 *            Without it signal.signal() would return None, which cannot be
 *            installed again. With it, old = signal.signal(n, f) and
 *            signal.signal(n, old) work, and so does an f that calls old.
 *            Installing old or SIG_DFL restores this program's handler, because
 *            the default action would kill the server. Signals that this
 *            program ignores stay ignored with SIG_DFL, too. In a child that
 *            the application forks SIG_DFL has its usual meaning.
 * Owner:     the process; the caller's struct and callables are kept.
 * Lifetime:  from the call to the end of the process, in forked children as
 *            well.
 * Threads:   the main thread only, like signal.signal() itself.
 * GIL:       see each function. Without one, too, the tables are constant once
 *            Python has been set up.
 * Errors:    see each function.
 * Blocks:    never.
 */
#ifndef PYTHON_PYTHON_SIGNALS_H
#define PYTHON_PYTHON_SIGNALS_H

#include "base/compiler.h"

#include <stddef.h>

struct python_signals {
    const int *numbers; /* signals that have a handler of this program */
    size_t n;
    const int *ignored; /* added if they are ignored at that time */
    size_t nignored;
    void (*handle)(int number);  /* does what the handler does */
    void (*restore)(int number); /* installs this program's handler */
};

/* Call it after Python has started and before the application is loaded,
 * without the GIL. 0, or -1 after a log line. */
CHECK_RESULT int python_signals_open(const struct python_signals *program);

/* Adds a signal for which the caller has already given Python a callable (a
 * PyObject *; steals the reference). GIL held. 0, or -1 with an exception. */
CHECK_RESULT int python_signals_add(int number, void *callable,
                                    void (*restore)(int number));

#endif
