/*
 * errand.c - something small to be done with the GIL, which nobody waits for
 */
#include "python/errand.h"

#include "os/log.h"
#include "python/python.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

static bool
move(struct errand *e, enum errand_state from, enum errand_state to)
{
    return atomic_compare_exchange_strong(&e->state, &from, to);
}

static void *
errand_main(void *arg)
{
    struct errand *e = arg;

    log_set_patience(0);
    PyGILState_STATE gil = PyGILState_Ensure();
    if (move(e, ERRAND_WAITING, ERRAND_RUNNING)) {
        e->fn();
        assert(!PyErr_Occurred());
    }
    PyGILState_Release(gil);
    atomic_store(&e->state, ERRAND_IDLE);
    return NULL;
}

int
errand_begin(struct errand *e, void (*fn)(void))
{
    pthread_t id;

    if (atomic_load(&e->state) != ERRAND_IDLE) {
        return -EBUSY;
    }
    e->fn = fn;
    atomic_store(&e->state, ERRAND_WAITING);
    int r = pthread_create(&id, NULL, errand_main, e);
    if (r != 0) {
        atomic_store(&e->state, ERRAND_IDLE);
        return -r;
    }
    (void)pthread_detach(id);
    return 0;
}

enum errand_state
errand_state(struct errand *e)
{
    return atomic_load(&e->state);
}

bool
errand_drop(struct errand *e)
{
    return move(e, ERRAND_WAITING, ERRAND_DROPPED);
}
