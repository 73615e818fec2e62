/*
 * lease.c - the right of Python objects to use the running request
 *
 * The mutex is only ever taken by try while the GIL is held, so that the two
 * locks cannot be waited for in opposite orders.
 */
#include "context/lease.h"

#include <errno.h>

static _Thread_local struct lease *current;
static _Thread_local PyThreadState *waiting;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

/* The hooks may run in any thread of the application that reads wsgi.input, so
 * its thread state is kept per thread and not in the lease. */
static void
release_gil(void *unused)
{
    (void)unused;
    if (current != NULL) {
        current->waiting = true;
    }
    waiting = PyEval_SaveThread();
}

static void
take_gil(void *unused)
{
    (void)unused;
    PyEval_RestoreThread(waiting);
    if (current != NULL) {
        current->waiting = false;
    }
}

/* fork() leaves the child with the parent's connection. Only the thread that
 * forked lives on there, so its lease is the only one that can still be used. */
static void
after_fork_in_child(void)
{
    if (current != NULL) {
        current->forked = true;
    }
}

static void
watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, after_fork_in_child);
}

int
lease_init(struct lease *l)
{
    pthread_mutexattr_t attr;

    *l = (struct lease){.thread = pthread_self()};
    (void)pthread_once(&fork_once, watch_forks);
    int r = pthread_mutexattr_init(&attr);
    if (r != 0) {
        return -r;
    }
    /* A finaliser that comes back into the request it interrupted must get an
     * error, not wait for itself. */
    (void)pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    r = pthread_mutex_init(&l->lock, &attr);
    (void)pthread_mutexattr_destroy(&attr);
    return -r;
}

void
lease_fini(struct lease *l)
{
    (void)pthread_mutex_destroy(&l->lock);
}

bool
lease_is_awaited(const struct lease *l)
{
    ASSERT_GIL();
    return l->waiters > 0;
}

/* The request's own thread has to get in, to finish the response for example;
 * whoever is inside now waits for the peer and ends at the latest with its
 * timeout. */
static int
wait_for_turn(struct lease *l)
{
    int r;

    l->waiters++;
    Py_BEGIN_ALLOW_THREADS r = pthread_mutex_lock(&l->lock);
    Py_END_ALLOW_THREADS l->waiters--;
    return r;
}

/* Where a watchdog may look at the request, it must not change under it. */
static void
set_request(struct lease *l, struct request *q, bool watched)
{
    if (watched && pthread_mutex_trylock(&l->lock) != 0) {
        (void)wait_for_turn(l);
    }
    l->q = q;
    if (watched) {
        (void)pthread_mutex_unlock(&l->lock);
    }
}

void
lease_start(struct lease *l, struct request *q)
{
    l->gone = 0;
    (void)request_id(q); /* before another thread can ask for it */
    q->hooks = (struct wait_hooks){.enter = release_gil, .leave = take_gil};
    current = l;
    set_request(l, q, q->cancel != NULL);
}

void
lease_end(struct lease *l)
{
    struct request *q = l->q;

    set_request(l, NULL, q->cancel != NULL && !l->forked);
    current = NULL;
    q->hooks = (struct wait_hooks){.enter = NULL};
}

struct lease *
lease_current(void)
{
    return current == NULL || current->forked ? NULL : current;
}

int
lease_check(const struct lease *l, const char *what)
{
    if (l == NULL) {
        PyErr_Format(PyExc_RuntimeError, "%s was used after its request ended",
                     what);
        return -1;
    }
    if (l->forked) {
        PyErr_Format(PyExc_RuntimeError,
                     "%s was used in a forked child; only the process that got "
                     "the request can use it",
                     what);
        return -1;
    }
    return 0;
}

int
lease_enter(struct lease *l, const char *what)
{
    if (lease_check(l, what) < 0) {
        return -1;
    }
    int r = pthread_mutex_trylock(&l->lock);
    if (r == EBUSY &&
        (pthread_equal(l->thread, pthread_self()) || atomic_load(&l->peeked))) {
        r = wait_for_turn(l);
    }
    else if (r == EBUSY) {
        r = pthread_mutex_trylock(&l->lock); /* a peek has just ended */
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
lease_enter_held(struct lease *const *held, const char *what)
{
    struct lease *l = *held;

    if (lease_enter(l, what) < 0) {
        return -1;
    }
    if (*held == l) {
        return 0;
    }
    lease_leave(l); /* the thread's next request, or none */
    return lease_check(NULL, what);
}

bool
lease_try(struct lease *l)
{
    return !l->forked && pthread_mutex_trylock(&l->lock) == 0;
}

void
lease_leave(struct lease *l)
{
    (void)pthread_mutex_unlock(&l->lock);
}

bool
lease_peek(struct lease *l)
{
    atomic_store(&l->peeked, true);
    if (lease_try(l)) {
        return true;
    }
    atomic_store(&l->peeked, false);
    return false;
}

void
lease_peek_end(struct lease *l)
{
    lease_leave(l);
    atomic_store(&l->peeked, false);
}

void
lease_set_gone(struct lease *l, int err, enum lease_side side)
{
    l->gone = err;
    l->gone_side = side;
    l->q->errors_to_server = 0;
}

int
lease_raise(int err, const char *text)
{
    /* The constructor picks ConnectionAbortedError, BrokenPipeError ... */
    CLEANUP(py_clear)
    PyObject *exc = PyObject_CallFunction(PyExc_OSError, "is", -err, text);
    if (exc != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
    }
    return -1;
}
