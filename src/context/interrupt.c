/*
 * interrupt.c - ends a request from outside its thread
 */
#include "context/interrupt.h"

#include "context/request_guard.h"
#include "context/request_timeout.h"
#include "gateway/access_log.h"
#include "os/log.h"
#include "python/gil_task.h"
#include "python/python.h"
#include "python/python_signals.h"

#include <string.h>
#include <unistd.h>

/* -- the signal ------------------------------------------------------------ */

/* interrupt_open() writes these in the main thread, before requests run. */
static void (*python_handler)(int); /* what signal.signal() has installed */
static pid_t main_tid;

/* Python runs handlers in the main thread only. In another thread the signal
 * has done its work when it has interrupted the system call. */
static void
on_signal(int number)
{
    assert(number == INTERRUPT_SIGNAL);
    if (gettid() == main_tid) {
        python_handler(number);
    }
}

/* Python calls this when it is safe. By then the thread may run the next
 * request or none. */
static PyObject *
on_python_signal(PyObject *self, PyObject *args)
{
    struct request_guard *g = request_guard_current();

    (void)self;
    (void)args;
    if (g != NULL && request_timeout_is_due(g)) {
        (void)request_timeout_raise(g);
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef handler_def = {"end_request", on_python_signal, METH_VARARGS,
                                  NULL};

/* Without SA_RESTART, so that it interrupts system calls. */
static void
restore(int number)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};

    (void)sigaction(number, &sa, NULL);
}

/* Imports _signal, the C part: signal would create enums of its constants. */
static int
install(void)
{
    CLEANUP(py_clear) PyObject *module = PyImport_ImportModule("_signal");
    CLEANUP(py_clear)
    PyObject *handler = PyCFunction_New(&handler_def, NULL);
    struct sigaction sa;

    if (module == NULL || handler == NULL) {
        return -1;
    }
    CLEANUP(py_clear)
    PyObject *old =
        PyObject_CallMethod(module, "signal", "iO", INTERRUPT_SIGNAL, handler);
    if (old == NULL || sigaction(INTERRUPT_SIGNAL, NULL, &sa) < 0) {
        return -1;
    }
    python_handler = sa.sa_handler;
    restore(INTERRUPT_SIGNAL);
    return python_signals_add(INTERRUPT_SIGNAL, py_steal(&handler), restore);
}

int
interrupt_open(void)
{
    PyGILState_STATE gil = PyGILState_Ensure();

    main_tid = gettid();
    int r = install();
    if (r < 0) {
        PyErr_Clear();
        log_error("--request-timeout: its signal cannot be installed");
    }
    PyGILState_Release(gil);
    return r;
}

static bool
is_installed(void)
{
    struct sigaction sa;

    return sigaction(INTERRUPT_SIGNAL, NULL, &sa) == 0 &&
           sa.sa_handler == on_signal;
}

bool
interrupt_main_thread(void)
{
    return is_installed() && tgkill(getpid(), main_tid, INTERRUPT_SIGNAL) == 0;
}

/* -- the threads ----------------------------------------------------------- */

/* Protects the list of guards, and is held while a guard is used, so that its
 * thread cannot end meanwhile. The GIL is never waited for with this lock
 * held; nor does who holds it attach to Python, so a thread that is attached
 * may wait for it. */
static pthread_mutex_t guards_lock = PTHREAD_MUTEX_INITIALIZER;
static struct request_guard *guards;

void
interrupt_register(struct request_guard *g)
{
    (void)pthread_mutex_lock(&guards_lock);
    g->next = guards;
    guards = g;
    (void)pthread_mutex_unlock(&guards_lock);
}

void
interrupt_unregister(struct request_guard *g)
{
    (void)pthread_mutex_lock(&guards_lock);
    for (struct request_guard **at = &guards; *at != NULL; at = &(*at)->next) {
        if (*at == g) {
            *at = g->next;
            break;
        }
    }
    (void)pthread_mutex_unlock(&guards_lock);
}

/* Any other thread is either in a wait of ours, or will look for an exception
 * before it runs more Python code. (A thread in a wait of its own looks only
 * after that.) The GIL keeps it there, or the guard's state lock. */
static void
raise_in_all(void)
{
    bool signal_works = is_installed();

    ASSERT_ATTACHED();
    (void)pthread_mutex_lock(&guards_lock);
    for (struct request_guard *g = guards; g != NULL; g = g->next) {
        if (request_timeout_raise_async(g) == REQUEST_TIMEOUT_BLOCKED &&
            signal_works) {
            (void)pthread_kill(g->thread, INTERRUPT_SIGNAL);
        }
    }
    (void)pthread_mutex_unlock(&guards_lock);
}

void
interrupt_all_threads(void)
{
    static struct gil_task task;

    if (gil_task_begin(&task, raise_in_all) < 0) {
        /* The last task still waits for the GIL; it will do. */
    }
}

/* The thread's guard, with no other thread inside the request. Its thread
 * cannot end the request until unlock_guard(). NULL if that is not possible. */
static struct request_guard *
lock_guard(pthread_t thread, uint64_t serial)
{
    (void)pthread_mutex_lock(&guards_lock);
    for (struct request_guard *g = guards; g != NULL; g = g->next) {
        if (!pthread_equal(g->thread, thread) || !request_guard_inspect(g)) {
            continue;
        }
        if (g->q != NULL && g->q->serial == serial) { /* inside the guard */
            return g;
        }
        request_guard_end_inspection(g);
    }
    (void)pthread_mutex_unlock(&guards_lock);
    return NULL;
}

static void
unlock_guard(struct request_guard *g)
{
    request_guard_end_inspection(g);
    (void)pthread_mutex_unlock(&guards_lock);
}

bool
interrupt_answer(pthread_t thread, uint64_t serial)
{
    struct request_guard *g = lock_guard(thread, serial);

    if (g == NULL) {
        return false;
    }
    assert(g->q->serial == serial);
    response_give_up(g->q, REQUEST_TIMEOUT_STATUS, REQUEST_TIMEOUT_SENTENCE,
                     request_id(g->q));
    /* Write the line now: its thread will hardly get there. */
    access_log_end(g->q);
    unlock_guard(g);
    return true;
}
