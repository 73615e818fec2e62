/*
 * gil_task.c - a short function that runs with the GIL in a thread of its own
 */
#include "python/gil_task.h"

#include "os/log.h"
#include "python/python.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

static bool
change_state(struct gil_task *task, enum gil_task_state from,
             enum gil_task_state to)
{
    return atomic_compare_exchange_strong(&task->state, &from, to);
}

static void *
task_main(void *arg)
{
    struct gil_task *task = arg;

    log_set_patience(0);
    PyGILState_STATE gil = PyGILState_Ensure();
    if (change_state(task, GIL_TASK_WAITING, GIL_TASK_RUNNING)) {
        assert(task->fn != NULL);
        task->fn();
        assert(!PyErr_Occurred());
    }
    PyGILState_Release(gil);
    atomic_store(&task->state, GIL_TASK_IDLE);
    return NULL;
}

int
gil_task_begin(struct gil_task *task, void (*fn)(void))
{
    pthread_t id;

    if (atomic_load(&task->state) != GIL_TASK_IDLE) {
        return -EBUSY;
    }
    task->fn = fn;
    atomic_store(&task->state, GIL_TASK_WAITING);
    int r = pthread_create(&id, NULL, task_main, task);
    if (r != 0) {
        atomic_store(&task->state, GIL_TASK_IDLE);
        return -r;
    }
    (void)pthread_detach(id);
    return 0;
}

enum gil_task_state
gil_task_state(struct gil_task *task)
{
    return atomic_load(&task->state);
}

const char *
gil_task_obstacle(void)
{
#ifdef Py_GIL_DISABLED
    return "an extension keeps all other threads out of Python";
#else
    return "an extension holds the GIL";
#endif
}

bool
gil_task_cancel(struct gil_task *task)
{
    return change_state(task, GIL_TASK_WAITING, GIL_TASK_CANCELLED);
}
