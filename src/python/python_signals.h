/*
 * python_signals.h - the program's signals, as Python's signal module shows them
 *
 * What:      gives Python a callable for each signal that has a handler of ours,
 *            where it would say None, which nobody can put back: old =
 *            signal.signal(n, f) and signal.signal(n, old) then work, and so does
 *            f that calls old. With old, and with SIG_DFL, the handler is ours
 *            again: the default of a server is not to be killed. Signals that we
 *            ignore stay ignored likewise, with SIG_DFL. In a child that
 *            the application forks SIG_DFL is what it is everywhere.
 * Owner:     the process; what is given is kept.
 * Lifetime:  from the call on, in forks as well.
 * Threads:   as signal.signal() itself: the main thread only.
 * GIL:       see each.            Errors: see each.            Blocks: never.
 */
#ifndef PYTHON_PYTHON_SIGNALS_H
#define PYTHON_PYTHON_SIGNALS_H

#include "base/compiler.h"

#include <stddef.h>

struct python_signals {
    const int *numbers;
    size_t n;
    const int *ignored; /* ... those of them that are ignored now */
    size_t nignored;
    void (*handle)(int number);  /* does what the signal does */
    void (*restore)(int number); /* puts our handler in place */
};

/* After Python has started and before the application is loaded; without the
 * GIL. 0, or -1 after a log line. */
CHECK_RESULT int python_signals_open(const struct python_signals *program);

/* One more, by a module of wsgi/ that has given Python a callable for it already
 * (a PyObject *, ours from here on). GIL held. 0, or -1 with an exception. */
CHECK_RESULT int python_signals_add(int number, void *callable,
                                    void (*restore)(int number));

#endif
