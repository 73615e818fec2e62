/*
 * request_guard.c - whether Python objects may use the running request
 *
 * Lock order: while the GIL is held the mutex is only ever tried, never waited
 * for. So no two threads can wait for the two locks in opposite orders. On a
 * free-threaded Python the same holds for a thread that is attached, which a
 * garbage collection would wait for.
 */
#include "context/request_guard.h"

#include "base/clock.h"

#include <errno.h>
#include <time.h>

/* The guard of the request that this thread runs, or NULL. */
static _Thread_local struct request_guard *current;
static _Thread_local PyThreadState *saved_state;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

#ifdef Py_GIL_DISABLED
enum {
    LOOK_NS = 1000000, /* between two looks whether the thread inside waits */
    COMPUTES_MAX_MS = 5000
};
#endif

/* -- waits ----------------------------------------------------------------- */

static void
note_wait_inside(struct request_guard *g, bool waits)
{
#ifdef Py_GIL_DISABLED
    atomic_store(&g->waits_inside, waits);
#else
    (void)g;
    (void)waits;
#endif
}

/* While it is blocked its thread gets the signal; else the exception, and it
 * then looks whether the request is cancelled before it waits. */
static void
set_blocked(struct request_guard *g, bool is_blocked)
{
    request_guard_lock_state(g);
    g->is_blocked = is_blocked;
    request_guard_unlock_state(g);
}

/* The hooks may run in any thread of the application that reads wsgi.input, so
 * the thread state is kept per thread and not in the guard. */
static void
release_gil(void *guard)
{
    note_wait_inside(guard, true);
    if (current != NULL) {
        set_blocked(current, true);
    }
    saved_state = PyEval_SaveThread();
}

static void
take_gil(void *guard)
{
    note_wait_inside(guard, false);
    PyEval_RestoreThread(saved_state);
    if (current != NULL) {
        set_blocked(current, false);
    }
}

/* The child of a fork shares the parent's connection. Only the thread that
 * forked exists there, so only its guard can still be used. */
static void
after_fork_in_child(void)
{
    if (current != NULL) {
        current->forked = true;
#ifdef Py_GIL_DISABLED
        /* a thread that does not exist here may have held it */
        (void)pthread_mutex_init(&current->state_lock, NULL);
#endif
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
#ifdef Py_GIL_DISABLED
    (void)pthread_mutex_init(&g->state_lock, NULL); /* cannot fail */
#endif
    return -r;
}

void
request_guard_fini(struct request_guard *g)
{
    (void)pthread_mutex_destroy(&g->lock);
}

#ifdef Py_GIL_DISABLED
/* So that a checker for leaks finds them. */
static _Atomic(struct request_guard *) kept;

bool
request_guard_can_be_freed(struct request_guard *g)
{
    g->next_kept = atomic_load(&kept);
    while (!atomic_compare_exchange_weak(&kept, &g->next_kept, g)) {
    }
    return false;
}
#else
bool
request_guard_can_be_freed(struct request_guard *g)
{
    ASSERT_ATTACHED();
    return atomic_load(&g->nwaiters) == 0;
}
#endif

/* The request's own thread must get in, for example to finish the response. The
 * thread inside waits for the client, at most until its timeout. */
static int
wait_for_turn(struct request_guard *g)
{
    int r;

    atomic_fetch_add(&g->nwaiters, 1);
    Py_BEGIN_ALLOW_THREADS r = pthread_mutex_lock(&g->lock);
    Py_END_ALLOW_THREADS atomic_fetch_sub(&g->nwaiters, 1);
    return r;
}

#ifdef Py_GIL_DISABLED
static struct timespec
soon(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += LOOK_NS;
    if (t.tv_nsec >= 1000000000) {
        t.tv_nsec -= 1000000000;
        t.tv_sec++;
    }
    return t;
}

/* Where there is a GIL, nobody sees a thread that computes inside: so wait for
 * it here. It may begin to wait for the client meanwhile. The limit is for code
 * of the application that runs inside, such as the __repr__() of a wrong header,
 * and waits for this thread. 0; or EBUSY or the like: it waits. */
static int
wait_while_it_computes(struct request_guard *g)
{
    int64_t limit = clock_ms() + COMPUTES_MAX_MS;
    int r = EBUSY;

    Py_BEGIN_ALLOW_THREADS while (!atomic_load(&g->waits_inside) ||
                                  atomic_load(&g->inspected))
    {
        struct timespec t = soon();
        r = pthread_mutex_clocklock(&g->lock, CLOCK_MONOTONIC, &t);
        if (r != ETIMEDOUT || clock_ms() >= limit) {
            break;
        }
    }
    Py_END_ALLOW_THREADS return r;
}
#endif

/* Sets g->q; under the lock if a watchdog may look at the request. */
static void
set_request(struct request_guard *g, struct request *q, bool watched)
{
    if (watched && pthread_mutex_trylock(&g->lock) != 0) {
        (void)wait_for_turn(g);
    }
    request_guard_lock_state(g);
    g->q = q;
    request_guard_unlock_state(g);
    if (watched) {
        (void)pthread_mutex_unlock(&g->lock);
    }
}

void
request_guard_start(struct request_guard *g, struct request *q)
{
    ASSERT_ATTACHED();
    assert(g->q == NULL && current == NULL);
    assert(pthread_equal(g->thread, pthread_self()));
    atomic_store_explicit(&g->gone, 0, memory_order_relaxed);
    (void)request_id(q); /* before another thread can call it */
    q->hooks =
        (struct wait_hooks){.enter = release_gil, .leave = take_gil, .arg = g};
    current = g;
    set_request(g, q, q->cancel != NULL);
}

void
request_guard_end(struct request_guard *g)
{
    struct request *q = g->q;

    ASSERT_ATTACHED();
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

static bool
try_lock(struct request_guard *g)
{
    int r = pthread_mutex_trylock(&g->lock);

#ifdef Py_GIL_DISABLED
    if (r == EBUSY) {
        r = wait_while_it_computes(g);
    }
#endif
    return r == 0;
}

static bool
take_lock(struct request_guard *g)
{
    if (pthread_mutex_trylock(&g->lock) == 0) {
        return true;
    }
    if (pthread_equal(g->thread, pthread_self()) ||
        atomic_load(&g->inspected)) {
        return wait_for_turn(g) == 0;
    }
    return try_lock(g); /* an inspection may have just ended */
}

int
request_guard_enter(struct request_guard *g, const char *what)
{
    if (request_guard_check(g, what) < 0) {
        return -1;
    }
    if (!take_lock(g)) {
        PyErr_Format(PyExc_RuntimeError,
                     "%s was used while another call is reading or writing",
                     what);
        return -1;
    }
    return 0;
}

struct request_guard *
request_guard_enter_object(request_guard_ref *object_guard, const char *what)
{
    struct request_guard *g =
        atomic_load_explicit(object_guard, memory_order_acquire);

    if (request_guard_enter(g, what) < 0) {
        return NULL;
    }
    if (atomic_load_explicit(object_guard, memory_order_relaxed) == g) {
        return g;
    }
    /* the thread runs its next request by now, or none */
    request_guard_leave(g);
    return request_guard_check(NULL, what) < 0 ? NULL : g;
}

bool
request_guard_try_enter(struct request_guard *g)
{
    return !g->forked && try_lock(g);
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
    if (!g->forked && pthread_mutex_trylock(&g->lock) == 0) {
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
    atomic_store(&g->gone, err);
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
