/*
 * gil_task.c - something small to be done with the GIL, which nobody waits for
 */
#include "python/gil_task.h"

#include "os/log.h"
#include "python/python.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

static bool
move(struct gil_task *e, enum gil_task_state from, enum gil_task_state to)
{
    return atomic_compare_exchange_strong(&e->state, &from, to);
}

static void *
errand_main(void *arg)
{
    struct gil_task *e = arg;

    log_set_patience(0);
    PyGILState_STATE gil = PyGILState_Ensure();
    if (move(e, GIL_TASK_WAITING, GIL_TASK_RUNNING)) {
        e->fn();
        assert(!PyErr_Occurred());
    }
    PyGILState_Release(gil);
    atomic_store(&e->state, GIL_TASK_IDLE);
    return NULL;
}

int
gil_task_begin(struct gil_task *e, void (*fn)(void))
{
    pthread_t id;

    if (atomic_load(&e->state) != GIL_TASK_IDLE) {
        return -EBUSY;
    }
    e->fn = fn;
    atomic_store(&e->state, GIL_TASK_WAITING);
    int r = pthread_create(&id, NULL, errand_main, e);
    if (r != 0) {
        atomic_store(&e->state, GIL_TASK_IDLE);
        return -r;
    }
    (void)pthread_detach(id);
    return 0;
}

enum gil_task_state
gil_task_state(struct gil_task *e)
{
    return atomic_load(&e->state);
}

bool
gil_task_drop(struct gil_task *e)
{
    return move(e, GIL_TASK_WAITING, GIL_TASK_DROPPED);
}
