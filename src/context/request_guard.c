/*
 * request_guard.c - whether Python objects may use the running request
 *
 * Lock order: while the GIL is held the mutex is only ever tried, never waited
 * for. So no two threads can wait for the two locks in opposite orders.
 */
#include "context/request_guard.h"

#include <errno.h>

/* The guard of the request that this thread runs, or NULL. */
static _Thread_local struct request_guard *current;
static _Thread_local PyThreadState *saved_state;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

/* The hooks may run in any thread of the application that reads wsgi.input, so
 * the thread state is kept per thread and not in the guard. */
static void
release_gil(void *unused)
{
    (void)unused;
    if (current != NULL) {
        current->is_blocked = true;
    }
    saved_state = PyEval_SaveThread();
}

static void
take_gil(void *unused)
{
    (void)unused;
    PyEval_RestoreThread(saved_state);
    if (current != NULL) {
        current->is_blocked = false;
    }
}

/* The child of a fork shares the parent's connection. Only the thread that
 * forked exists there, so only its guard can still be used. */
static void
after_fork_in_child(void)
{
    if (current != NULL) {
        current->forked = true;
    }
}

static void
register_fork_hook(void)
{
    (void)pthread_atfork(NULL, NULL, after_fork_in_child);
}

int
request_guard_init(struct request_guard *g)
{
    pthread_mutexattr_t attr;

    *g = (struct request_guard){.thread = pthread_self()};
    (void)pthread_once(&fork_once, register_fork_hook);
    int r = pthread_mutexattr_init(&attr);
    if (r != 0) {
        return -r;
    }
    /* A finalizer that enters the request that it interrupted must get an error
     * and not wait for itself. */
    (void)pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    r = pthread_mutex_init(&g->lock, &attr);
    (void)pthread_mutexattr_destroy(&attr);
    return -r;
}

void
request_guard_fini(struct request_guard *g)
{
    (void)pthread_mutex_destroy(&g->lock);
}

bool
request_guard_has_waiters(const struct request_guard *g)
{
    ASSERT_GIL();
    return g->nwaiters > 0;
}

/* The request's own thread must get in, for example to finish the response. The
 * thread inside waits for the client, at most until its timeout. */
static int
wait_for_turn(struct request_guard *g)
{
    int r;

    g->nwaiters++;
    Py_BEGIN_ALLOW_THREADS r = pthread_mutex_lock(&g->lock);
    Py_END_ALLOW_THREADS g->nwaiters--;
    return r;
}

/* Sets g->q; under the lock if a watchdog may look at the request. */
static void
set_request(struct request_guard *g, struct request *q, bool watched)
{
    if (watched && pthread_mutex_trylock(&g->lock) != 0) {
        (void)wait_for_turn(g);
    }
    g->q = q;
    if (watched) {
        (void)pthread_mutex_unlock(&g->lock);
    }
}

void
request_guard_start(struct request_guard *g, struct request *q)
{
    ASSERT_GIL();
    assert(g->q == NULL && current == NULL);
    assert(pthread_equal(g->thread, pthread_self()));
    g->gone = 0;
    (void)request_id(q); /* before another thread can call it */
    q->hooks = (struct wait_hooks){.enter = release_gil, .leave = take_gil};
    current = g;
    set_request(g, q, q->cancel != NULL);
}

void
request_guard_end(struct request_guard *g)
{
    struct request *q = g->q;

    ASSERT_GIL();
    assert(q != NULL && current == g);
    set_request(g, NULL, q->cancel != NULL && !g->forked);
    current = NULL;
    q->hooks = (struct wait_hooks){.enter = NULL};
}

struct request_guard *
request_guard_current(void)
{
    return current == NULL || current->forked ? NULL : current;
}

int
request_guard_check(const struct request_guard *g, const char *what)
{
    if (g == NULL) {
        PyErr_Format(PyExc_RuntimeError, "%s was used after its request ended",
                     what);
        return -1;
    }
    if (g->forked) {
        PyErr_Format(PyExc_RuntimeError,
                     "%s was used in a forked child; only the process that got "
                     "the request can use it",
                     what);
        return -1;
    }
    return 0;
}

int
request_guard_enter(struct request_guard *g, const char *what)
{
    if (request_guard_check(g, what) < 0) {
        return -1;
    }
    int r = pthread_mutex_trylock(&g->lock);
    if (r == EBUSY && (pthread_equal(g->thread, pthread_self()) ||
                       atomic_load(&g->inspected))) {
        r = wait_for_turn(g);
    }
    else if (r == EBUSY) {
        r = pthread_mutex_trylock(&g->lock); /* an inspection has just ended */
    }
    if (r != 0) {
        PyErr_Format(PyExc_RuntimeError,
                     "%s was used while another call is reading or writing",
                     what);
        return -1;
    }
    return 0;
}

int
request_guard_enter_object(struct request_guard *const *object_guard,
                           const char *what)
{
    struct request_guard *g = *object_guard;

    if (request_guard_enter(g, what) < 0) {
        return -1;
    }
    if (*object_guard == g) {
        return 0;
    }
    /* the thread runs its next request by now, or none */
    request_guard_leave(g);
    return request_guard_check(NULL, what);
}

bool
request_guard_try_enter(struct request_guard *g)
{
    return !g->forked && pthread_mutex_trylock(&g->lock) == 0;
}

void
request_guard_leave(struct request_guard *g)
{
    (void)pthread_mutex_unlock(&g->lock);
}

bool
request_guard_inspect(struct request_guard *g)
{
    atomic_store(&g->inspected, true);
    if (request_guard_try_enter(g)) {
        return true;
    }
    atomic_store(&g->inspected, false);
    return false;
}

void
request_guard_end_inspection(struct request_guard *g)
{
    request_guard_leave(g);
    atomic_store(&g->inspected, false);
}

void
request_guard_set_gone(struct request_guard *g, int err, enum guard_side side)
{
    assert(err < 0 && g->q != NULL);
    g->gone = err;
    g->gone_side = side;
    g->q->errors_to_server = 0;
}

int
request_guard_raise(int err, const char *text)
{
    assert(err < 0);
    /* The constructor picks the subclass, such as BrokenPipeError. */
    CLEANUP(py_clear)
    PyObject *exc = PyObject_CallFunction(PyExc_OSError, "is", -err, text);
    if (exc != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
    }
    return -1;
}
