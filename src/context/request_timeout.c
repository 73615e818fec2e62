/*
 * request_timeout.c - RequestTimeout: the exception that ends a cancelled
 * request
 */
#include "context/request_timeout.h"

#include <stdatomic.h>

static PyObject *exception_type; /* kept for ever: signal handlers raise it */

PyDoc_STRVAR(
    timeout_doc,
    "Raised once in a request that runs for longer than --request-timeout.\n\n"
    "It derives from BaseException and not from Exception, so that only\n"
    "code that cleans up catches it. If the request goes on for another 2\n"
    "seconds its process ends.");

PyObject *
request_timeout_type(PyObject *module)
{
    (void)module;
    PyObject *type = PyErr_NewExceptionWithDoc(
        "_wsgi_cgi.RequestTimeout", timeout_doc, PyExc_BaseException, NULL);
    if (exception_type == NULL) {
        exception_type = Py_XNewRef(type);
    }
    return type;
}

bool
request_timeout_matches(PyObject *exc)
{
    return PyErr_GivenExceptionMatches(exc, exception_type) != 0;
}

/* On Linux Python's thread identifiers are those of pthread_self(). */
static unsigned long
thread_ident(const struct request_guard *g)
{
    return (unsigned long)g->thread;
}

/* With the state lock. */
static void
cancel_async(struct request_guard *g)
{
    if (g->async_exc_set) {
        g->async_exc_set = false;
        (void)PyThreadState_SetAsyncExc(thread_ident(g), NULL);
    }
}

void
request_timeout_enable(struct request_guard *g)
{
    request_guard_lock_state(g);
    g->may_interrupt = true;
    request_guard_unlock_state(g);
}

void
request_timeout_disable(struct request_guard *g)
{
    ASSERT_ATTACHED();
    request_guard_lock_state(g);
    g->may_interrupt = false;
    cancel_async(g);
    request_guard_unlock_state(g);
}

static bool
was_raised(const struct request *q)
{
    return request_is_cancelled(q) &&
           atomic_load(&q->cancel->told) == q->serial;
}

bool
request_timeout_was_raised(const struct request_guard *g)
{
    return was_raised(g->q);
}

/* With the state lock. */
static bool
is_due(const struct request_guard *g)
{
    return g->q != NULL && g->may_interrupt && !g->forked &&
           request_is_cancelled(g->q) && !was_raised(g->q);
}

bool
request_timeout_is_due(struct request_guard *g)
{
    request_guard_lock_state(g);
    bool due = is_due(g);
    request_guard_unlock_state(g);
    return due;
}

static void
mark_raised(const struct request_guard *g)
{
    atomic_store(&g->q->cancel->told, g->q->serial);
}

int
request_timeout_raise(struct request_guard *g)
{
    ASSERT_ATTACHED();
    assert(pthread_equal(g->thread, pthread_self()));
    assert(exception_type != NULL && g->q != NULL);
    request_guard_lock_state(g);
    cancel_async(g);
    mark_raised(g);
    request_guard_unlock_state(g);
    PyErr_SetString(exception_type,
                    "the request is older than --request-timeout");
    return -1;
}

enum request_timeout_step
request_timeout_raise_async(struct request_guard *g)
{
    enum request_timeout_step step = REQUEST_TIMEOUT_NOT_DUE;

    ASSERT_ATTACHED();
    assert(exception_type != NULL);
    request_guard_lock_state(g);
    if (is_due(g) && g->is_blocked) {
        step = REQUEST_TIMEOUT_BLOCKED;
    }
    else if (is_due(g)) {
        step = REQUEST_TIMEOUT_SET;
        g->async_exc_set = true;
        mark_raised(g);
        (void)PyThreadState_SetAsyncExc(thread_ident(g), exception_type);
    }
    request_guard_unlock_state(g);
    return step;
}
