/*
 * errand.h - something small to be done with the GIL, which nobody waits for
 *
 * What:      a thread made for it takes the GIL, calls a function, and ends. A C
 *            extension may hold the GIL for any time: until the function has
 *            begun whoever asked can drop the errand.
 * Owner:     whoever asks; a struct errand lives as long as the process, since a
 *            dropped one's thread still looks at it.
 * Threads:   all of this in one thread; the function in the one made for it, with
 *            the signal mask of whoever asked.
 * GIL:       not held by the caller; held by the function.
 * Errors:    0 or -errno.                                        Blocks: never.
 */
#ifndef PYTHON_ERRAND_H
#define PYTHON_ERRAND_H

#include "base/compiler.h"

#include <stdbool.h>

enum errand_state {
    ERRAND_IDLE,
    ERRAND_WAITING, /* for the GIL */
    ERRAND_RUNNING,
    ERRAND_DROPPED /* its thread still waits for the GIL, to do nothing */
};

struct errand {
    _Atomic(enum errand_state) state;
    void (*fn)(void);
};

/* IDLE -> WAITING -> RUNNING -> IDLE. -EBUSY where it is not IDLE. */
CHECK_RESULT int errand_begin(struct errand *e, void (*fn)(void));

enum errand_state errand_state(struct errand *e);

/* True: it had not begun and will not. */
CHECK_RESULT bool errand_drop(struct errand *e);

#endif
