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
ident_of(const struct lease *l)
{
    return (unsigned long)l->thread;
}

static void
take_back(struct lease *l)
{
    if (l->async) {
        l->async = false;
        (void)PyThreadState_SetAsyncExc(ident_of(l), NULL);
    }
}

void
timeout_allow(struct lease *l)
{
    l->may_interrupt = true;
}

void
timeout_forbid(struct lease *l)
{
    ASSERT_GIL();
    l->may_interrupt = false;
    take_back(l);
}

bool
timeout_was_told(const struct lease *l)
{
    const struct request *q = l->q;

    return request_is_cancelled(q) &&
           atomic_load(&q->cancel->told) == q->serial;
}

bool
timeout_is_due(const struct lease *l)
{
    return l->q != NULL && l->may_interrupt && !l->forked &&
           request_is_cancelled(l->q) && !timeout_was_told(l);
}

static void
tell(struct lease *l)
{
    atomic_store(&l->q->cancel->told, l->q->serial);
}

int
timeout_raise(struct lease *l)
{
    ASSERT_GIL();
    take_back(l);
    tell(l);
    PyErr_SetString(type, "the request is older than --request-timeout");
    return -1;
}

void
timeout_throw(struct lease *l)
{
    ASSERT_GIL();
    l->async = true;
    tell(l);
    (void)PyThreadState_SetAsyncExc(ident_of(l), type);
}
