/*
 * gil_state.h - whether the threads of this process take turns in Python
 *
 * What:      a free-threaded Python (3.13t and later) runs without its GIL until
 *            an extension module is loaded that does not declare that it can do
 *            without; from then on it has one, for good. This knows which it
 *            is, and logs the name of that module. Any other Python always has
 *            a GIL.
 * Owner:     the process, and those that it forks.
 * Lifetime:  the process.
 * Threads:   any, except where a function says otherwise. The state is an
 *            atomic; `loads`, a lock guards.
 * GIL:       not needed, except for gil_state_open().
 * Errors:    see each function.
 * Blocks:    never.
 */
#ifndef PYTHON_GIL_STATE_H
#define PYTHON_GIL_STATE_H

#include "base/compiler.h"

#include <stdatomic.h>
#include <stdbool.h>

/* True if this program was built for a free-threaded Python. */
bool gil_state_is_free_threaded(void);

/* True if threads take turns. Before Python has started: what it will be unless
 * an extension module changes it, which the variable PYTHON_GIL says. */
bool gil_state_is_on(void);

/* ", free-threaded, GIL off" or the like, for people; "" where the GIL is a
 * matter of course. */
const char *gil_state_text(void);

/* Where processes share what they know: the fields of one scoreboard. */
struct gil_share {
    atomic_bool *is_on;  /* follows the state of this process */
    atomic_uint *logged; /* for all of them: the generation of the code whose
                          * module is in the log, 0 = none */
    unsigned generation;
};

/* The main thread of a process that is going to serve, once, before it loads the
 * application. */
void gil_state_share(const struct gil_share *share);

/* In a process that has one request: it does not log what every other one would
 * log again. */
void gil_state_be_quiet(void);

/* When Python has started: from now on the loads of modules are watched. The
 * main thread, attached to Python. 0, or -1 with an exception. */
CHECK_RESULT int gil_state_open(void);

#endif
