/*
 * timeout.c - RequestTimeout: the exception that ends a cancelled request
 */
#include "context/timeout.h"

#include <stdatomic.h>

static PyObject *type; /* kept for ever: signal handlers raise it */

PyObject *
timeout_type(PyObject *module)
{
    (void)module;
    PyObject *made =
        PyErr_NewExceptionWithDoc("_wsgi_cgi.RequestTimeout",
                                  "Raised inside a request that is older than "
                                  "--request-timeout, once.\n\n"
                                  "It is no Exception, so that only what "
                                  "cleans up catches it. A request\n"
                                  "that goes on all the same for another 2 "
                                  "seconds ends with its process.",
                                  PyExc_BaseException, NULL);
    if (type == NULL) {
        type = Py_XNewRef(made);
    }
    return made;
}

bool
timeout_is(PyObject *exc)
{
    return PyErr_GivenExceptionMatches(exc, type) != 0;
}

/* What thread idents are on Linux. */
static unsigned long
ident_of(const struct request_guard *g)
{
    return (unsigned long)g->thread;
}

static void
take_back(struct request_guard *g)
{
    if (g->async) {
        g->async = false;
        (void)PyThreadState_SetAsyncExc(ident_of(g), NULL);
    }
}

void
timeout_allow(struct request_guard *g)
{
    g->may_interrupt = true;
}

void
timeout_forbid(struct request_guard *g)
{
    ASSERT_GIL();
    g->may_interrupt = false;
    take_back(g);
}

bool
timeout_was_told(const struct request_guard *g)
{
    const struct request *q = g->q;

    return request_is_cancelled(q) &&
           atomic_load(&q->cancel->told) == q->serial;
}

bool
timeout_is_due(const struct request_guard *g)
{
    return g->q != NULL && g->may_interrupt && !g->forked &&
           request_is_cancelled(g->q) && !timeout_was_told(g);
}

static void
tell(struct request_guard *g)
{
    atomic_store(&g->q->cancel->told, g->q->serial);
}

int
timeout_raise(struct request_guard *g)
{
    ASSERT_GIL();
    take_back(g);
    tell(g);
    PyErr_SetString(type, "the request is older than --request-timeout");
    return -1;
}

void
timeout_throw(struct request_guard *g)
{
    ASSERT_GIL();
    g->async = true;
    tell(g);
    (void)PyThreadState_SetAsyncExc(ident_of(g), type);
}
