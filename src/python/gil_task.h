/*
 * gil_task.h - a short function that runs with the GIL in a thread of its own
 *
 * What:      starts a thread that takes the GIL, calls the function and ends;
 *            the caller does not wait. A C extension may hold the GIL for any
 *            length of time: until the function has begun, the caller can
 *            cancel the task. Without a GIL the thread attaches itself to
 *            Python: it waits while Python stops all threads (for a garbage
 *            collection), also for a C extension in one of them. Then other
 *            threads run at the same time as the function.
 * Owner:     the caller. A struct gil_task must live as long as the process,
 *            because the thread of a cancelled task still reads it.
 * Threads:   one thread calls all functions below; the task's function runs in
 *            its own thread, with the caller's signal mask.
 * GIL:       not held by the caller; held by the task's function. Without one,
 *            too, the state is an atomic. Then such a task waits only for a
 *            garbage collection or a fork, which stop all threads.
 * Errors:    0 or -errno.
 * Blocks:    never.
 */
#ifndef PYTHON_GIL_TASK_H
#define PYTHON_GIL_TASK_H

#include "base/compiler.h"

#include <stdbool.h>

enum gil_task_state {
    GIL_TASK_IDLE,
    GIL_TASK_WAITING, /* its thread waits for the GIL, or to be attached */
    GIL_TASK_RUNNING,
    /* its thread still waits, and will do nothing */
    GIL_TASK_CANCELLED
};

struct gil_task {
    /* The caller sets WAITING and CANCELLED, the task's thread RUNNING and
     * IDLE. */
    _Atomic(enum gil_task_state) state;
    void (*fn)(void); /* the caller writes it while IDLE */
};

/* IDLE -> WAITING -> RUNNING -> IDLE. 0, -EBUSY if the task is not IDLE, or
 * another -errno if no thread can be started. */
CHECK_RESULT int gil_task_begin(struct gil_task *task, void (*fn)(void));

enum gil_task_state gil_task_state(struct gil_task *task);

/* Why a task does not begin for long: for the log. */
const char *gil_task_obstacle(void);

/* True if the function had not begun; it will not run. */
CHECK_RESULT bool gil_task_cancel(struct gil_task *task);

#endif
