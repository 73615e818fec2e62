/*
 * gil_task.h - something small to be done with the GIL, which nobody waits for
 *
 * What:      a thread made for it takes the GIL, calls a function, and ends. A C
 *            extension may hold the GIL for any time: until the function has
 *            begun whoever asked can drop the task.
 * Owner:     whoever asks; a struct gil_task lives as long as the process, since a
 *            dropped one's thread still looks at it.
 * Threads:   all of this in one thread; the function in the one made for it, with
 *            the signal mask of whoever asked.
 * GIL:       not held by the caller; held by the function.
 * Errors:    0 or -errno.                                        Blocks: never.
 */
#ifndef PYTHON_GIL_TASK_H
#define PYTHON_GIL_TASK_H

#include "base/compiler.h"

#include <stdbool.h>

enum gil_task_state {
    GIL_TASK_IDLE,
    GIL_TASK_WAITING, /* for the GIL */
    GIL_TASK_RUNNING,
    GIL_TASK_CANCELLED /* its thread still waits for the GIL, to do nothing */
};

struct gil_task {
    _Atomic(enum gil_task_state) state;
    void (*fn)(void);
};

/* IDLE -> WAITING -> RUNNING -> IDLE. -EBUSY where it is not IDLE. */
CHECK_RESULT int gil_task_begin(struct gil_task *task, void (*fn)(void));

enum gil_task_state gil_task_state(struct gil_task *task);

/* True: it had not begun and will not. */
CHECK_RESULT bool gil_task_cancel(struct gil_task *task);

#endif
