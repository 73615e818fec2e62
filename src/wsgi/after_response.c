/*
 * after_response.c - wsgi_cgi.after_response: work after the response
 */
#include "wsgi/after_response.h"

#include "wsgi/failure.h"

#include <stddef.h>

typedef struct {
    PyObject_HEAD vectorcallfunc vectorcall;
    /* Protects after, and after->calls, where there is no GIL: any thread that
     * has the object may note a call while the request's thread ends the
     * request. It lives longer than the struct, which a thread owns. No Python
     * code runs while it is held, so no other thread has it during a fork(). */
    struct py_lock lock;
    struct after_response *after; /* NULL: the request is over */
} AfterObject;

/* A noted call is a tuple: the callable, the names of keyword arguments (or
 * None), then all arguments in the order of vectorcall. */
enum { CALL_CALLABLE, CALL_NAMES, CALL_ARGS };

static const char after_name[] = "after_response()";

/* -- noting a call --------------------------------------------------------- */

static PyObject *
make_call(PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    Py_ssize_t all = n + (names == NULL ? 0 : PyTuple_GET_SIZE(names));
    PyObject *call = PyTuple_New(all - 1 + CALL_ARGS);

    if (call == NULL) {
        return NULL;
    }
    PyTuple_SET_ITEM(call, CALL_CALLABLE, Py_NewRef(args[0]));
    PyTuple_SET_ITEM(call, CALL_NAMES,
                     Py_NewRef(names == NULL ? Py_None : names));
    for (Py_ssize_t i = 1; i < all; i++) {
        PyTuple_SET_ITEM(call, CALL_ARGS + i - 1, Py_NewRef(args[i]));
    }
    return call;
}

static int
note_call(AfterObject *self, PyObject *call)
{
    /* Before anything is looked at: a new list may start a collection, in which
     * Python code runs. */
    CLEANUP(py_clear) PyObject *first = PyList_New(0);
    int r = 0;

    if (first == NULL) {
        return -1;
    }
    py_lock(&self->lock);
    struct after_response *a = self->after;
    bool is_open = a != NULL && !a->guard->forked;
    if (is_open) {
        if (a->calls == NULL) {
            a->calls = py_steal(&first);
        }
        r = PyList_Append(a->calls, call);
    }
    py_unlock(&self->lock);
    /* For an expired object a is NULL. */
    return is_open
               ? r
               : request_guard_check(a == NULL ? NULL : a->guard, after_name);
}

static PyObject *
after_call(PyObject *callable, PyObject *const *args, size_t nargsf,
           PyObject *names)
{
    Py_ssize_t n = PyVectorcall_NARGS(nargsf);

    if (n < 1 || !PyCallable_Check(args[0])) {
        PyErr_Format(PyExc_TypeError,
                     "after_response() takes a callable and its arguments, "
                     "not %.200s",
                     n < 1 ? "nothing" : Py_TYPE(args[0])->tp_name);
        return NULL;
    }
    CLEANUP(py_clear) PyObject *call = make_call(args, n, names);

    return call == NULL || note_call((AfterObject *)callable, call) < 0
               ? NULL
               : Py_NewRef(args[0]);
}

/* -- making the calls ------------------------------------------------------ */

/* Drops the callable, which other threads can no longer use to note calls. */
static void
forget(struct after_response *a)
{
    Py_CLEAR(a->callable);
    a->in_templates = 0;
}

/* If the application still holds the callable it must not reach the next
 * request. */
static bool
may_be_kept(const struct after_response *a)
{
#ifdef Py_GIL_DISABLED
    /* References that other threads take and drop are counted apart, and the
     * sum is no proof: every request gets a callable of its own. */
    return a->callable != NULL;
#else
    return Py_REFCNT(a->callable) > 1 + (Py_ssize_t)a->in_templates;
#endif
}

/* The noted calls: new reference. If there are none: NULL, and from this moment
 * on nobody can note any who could still do it in the next request. */
static PyObject *
take_calls(struct after_response *a)
{
    AfterObject *self = (AfterObject *)a->callable;

    if (self == NULL) {
        assert(a->calls == NULL);
        return NULL;
    }
    py_lock(&self->lock);
    PyObject *calls = py_steal(&a->calls);
    bool is_over = calls == NULL && may_be_kept(a);
    if (is_over) {
        self->after = NULL;
    }
    py_unlock(&self->lock);
    if (is_over) {
        forget(a);
    }
    return calls;
}

bool
after_response_is_due(struct after_response *a, PyObject *context)
{
    a->due = take_calls(a);
    if (a->due == NULL) {
        return false;
    }
    Py_XSETREF(a->context, Py_NewRef(context));
    return true;
}

static void
make_one(struct after_response *a, PyObject *call)
{
    assert(PyTuple_CheckExact(call) && PyTuple_GET_SIZE(call) >= CALL_ARGS);
    PyObject *names = PyTuple_GET_ITEM(call, CALL_NAMES);
    Py_ssize_t n = PyTuple_GET_SIZE(call) - CALL_ARGS;

    if (names == Py_None) {
        names = NULL;
    }
    else {
        n -= PyTuple_GET_SIZE(names);
    }
    PyObject *result = PyObject_Vectorcall(
        PyTuple_GET_ITEM(call, CALL_CALLABLE),
        &PyTuple_GET_ITEM(call, CALL_ARGS), (size_t)n, names);
    Py_XDECREF(result);
    if (!a->guard->forked) {
        failure_note(a->guard, "work after the response");
    }
}

/* Frees the arguments of each call before the next call. In a forked child
 * nothing is freed: what the other calls hold, such as a temporary file, is the
 * parent's to remove. */
static void
make_all(struct after_response *a, PyObject *calls)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(calls); i++) {
        PyObject *call = PyList_GET_ITEM(calls, i);
        /* we own the reference now */
        PyList_SET_ITEM(calls, i, Py_NewRef(Py_None));
        make_one(a, call);
        if (a->guard->forked) {
            return;
        }
        Py_DECREF(call);
    }
    Py_DECREF(calls);
}

void
after_response_run(struct after_response *a)
{
    ASSERT_ATTACHED();
    assert(a->context != NULL);
    CLEANUP(py_clear) PyObject *context = py_steal(&a->context);
    bool is_inside = PyContext_Enter(context) == 0;

    failure_note(a->guard, "entering the request's context");
    PyObject *calls = py_steal(&a->due);
    while (calls != NULL) {
        make_all(a, calls);
        if (a->guard->forked) {
            return;
        }
        calls = take_calls(a);
    }
    if (is_inside && PyContext_Exit(context) < 0) {
        failure_note(a->guard, "leaving the request's context");
    }
}

/* -- the type -------------------------------------------------------------- */

static void
after_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_Free(self);
    Py_DECREF(type);
}

static PyMemberDef after_members[] = {
    {"__vectorcalloffset__", Py_T_PYSSIZET, offsetof(AfterObject, vectorcall),
     Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(
    after_doc,
    "after_response(callable, /, *args, **kwargs)\n"
    "--\n\n"
    "Call callable(*args, **kwargs) after the response: when the client\n"
    "has all of it and its connection is closed or free again, or when\n"
    "the response could not be sent. The calls run in the order in which\n"
    "they were added, in the thread and the contextvars of the request.\n"
    "Results are dropped, exceptions are logged.\n\n"
    "Returns callable, so that this can be used as a decorator. Raises\n"
    "TypeError if it is not callable, and RuntimeError if the request is\n"
    "over or this is a forked child.");

static PyType_Slot after_slots[] = {
    {Py_tp_dealloc, after_dealloc},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, after_members},
    {Py_tp_doc, (void *)(uintptr_t)after_doc},
    {0, NULL},
};

static PyType_Spec after_spec = {
    .name = "_wsgi_cgi.AfterResponse",
    .basicsize = (int)sizeof(AfterObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = after_slots,
};

PyObject *
after_response_type(PyObject *module)
{
    return PyType_FromModuleAndSpec(module, &after_spec, NULL);
}

PyObject *
after_response_callable(struct after_response *a)
{
    if (a->callable == NULL) {
        AfterObject *self = PyObject_New(AfterObject, a->type);
        if (self != NULL) {
            self->vectorcall = after_call;
            self->lock = (struct py_lock){0};
            self->after = a;
        }
        a->callable = (PyObject *)self;
    }
    return a->callable;
}

void
after_response_init(struct after_response *a, PyTypeObject *type,
                    struct request_guard *guard)
{
    *a = (struct after_response){.type = type, .guard = guard};
}

void
after_response_fini(struct after_response *a)
{
    AfterObject *self = (AfterObject *)a->callable;

    if (self != NULL) {
        py_lock(&self->lock);
        self->after = NULL;
        py_unlock(&self->lock);
        forget(a);
    }
    Py_CLEAR(a->calls);
    Py_CLEAR(a->due);
    Py_CLEAR(a->context);
}
