/*
 * start_response.c - start_response() and the write() that it returns
 */
#include "wsgi/start_response.h"

#include "context/request_timeout.h"
#include "gateway/response.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    PyObject_HEAD vectorcallfunc vectorcall; /* never changes */
    request_guard_ref guard; /* NULL: the response is complete */
    bool called;             /* used inside the guard */
} StartResponseObject;

static const char start_response_name[] = "start_response()";
static const char write_name[] = "write()";

/* -- status and headers (inside the guard) --------------------------------- */

struct latin1_text {
    const char *bytes;
    size_t n;
};

/* Gets the bytes of a latin-1 str. Returns NULL, or what is wrong with it. */
static const char *
get_text(PyObject *str, struct latin1_text *ret_text)
{
    if (!PyUnicode_Check(str)) {
        return "must be str";
    }
    if (py_unicode_ready(str) < 0) {
        PyErr_Clear();
        return "is too long";
    }
    if (PyUnicode_KIND(str) != PyUnicode_1BYTE_KIND) {
        return "has characters that are not latin-1";
    }
    ret_text->bytes = (const char *)PyUnicode_1BYTE_DATA(str);
    ret_text->n = (size_t)PyUnicode_GET_LENGTH(str);
    return NULL;
}

static PyObject *
fault_class(PyObject *str)
{
    return PyUnicode_Check(str) ? PyExc_ValueError : PyExc_TypeError;
}

static int
set_status(struct response *r, PyObject *status)
{
    struct latin1_text s;
    const char *fault = get_text(status, &s);

    if (fault == NULL) {
        int e = response_set_status(r, s.bytes, s.n);
        if (e == RESPONSE_OK) {
            return 0;
        }
        if (e == RESPONSE_NO_MEMORY) {
            PyErr_NoMemory();
            return -1;
        }
        fault = response_strerror((enum response_error)e);
    }
    PyErr_Format(fault_class(status), "status %A: %s", status, fault);
    return -1;
}

/* The message names the header but not its value, which may be a secret. */
static int
add_header(struct response *r, Py_ssize_t i, PyObject *header)
{
    struct latin1_text name, value;

    if (!PyTuple_Check(header) || PyTuple_GET_SIZE(header) != 2) {
        PyErr_Format(PyExc_TypeError,
                     "headers[%zd] must be a tuple (name, value)", i);
        return -1;
    }
    PyObject *n = PyTuple_GET_ITEM(header, 0);
    PyObject *v = PyTuple_GET_ITEM(header, 1);
    const char *fault = get_text(n, &name);
    if (fault != NULL) {
        PyErr_Format(fault_class(n), "headers[%zd]: the name %A %s", i, n,
                     fault);
        return -1;
    }
    fault = get_text(v, &value);
    if (fault != NULL) {
        PyErr_Format(fault_class(v), "headers[%zd] (%A): the value %s", i, n,
                     fault);
        return -1;
    }
    int e = response_add_header(r, name.bytes, name.n, value.bytes, value.n);
    if (e == RESPONSE_NO_MEMORY) {
        PyErr_NoMemory();
        return -1;
    }
    if (e != RESPONSE_OK) {
        PyErr_Format(PyExc_ValueError, "headers[%zd] (%A): %s", i, n,
                     response_strerror((enum response_error)e));
        return -1;
    }
    return 0;
}

static int
add_all(struct response *r, PyObject *const *items, Py_ssize_t n)
{
    for (Py_ssize_t i = 0; i < n; i++) {
        if (add_header(r, i, items[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
add_headers(struct response *r, PyObject *headers)
{
    if (!PyList_CheckExact(headers)) {
        PyErr_Format(PyExc_TypeError, "headers must be a list, not %.200s",
                     Py_TYPE(headers)->tp_name);
        return -1;
    }
#ifdef Py_GIL_DISABLED
    /* another thread may change the list meanwhile */
    CLEANUP(py_clear) PyObject *copy = PyList_AsTuple(headers);
    return copy == NULL ? -1
                        : add_all(r, PySequence_Fast_ITEMS(copy),
                                  PyTuple_GET_SIZE(copy));
#else
    /* no Python code runs before an error */
    return add_all(r, PySequence_Fast_ITEMS(headers), PyList_GET_SIZE(headers));
#endif
}

/* -- exc_info -------------------------------------------------------------- */

/* Raises the exception of a (type, value, traceback) again, unchanged. */
static void
raise_again(PyObject *exc_info)
{
    PyObject *value = PyTuple_GET_ITEM(exc_info, 1);
    PyObject *traceback = PyTuple_GET_ITEM(exc_info, 2);

    if (!PyExceptionInstance_Check(value) ||
        (traceback != Py_None && !PyTraceBack_Check(traceback))) {
        PyErr_Format(PyExc_AssertionError,
                     "start_response() was called after the headers were sent, "
                     "and exc_info has no exception");
        return;
    }
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(value)), Py_NewRef(value),
                  traceback == Py_None ? NULL : Py_NewRef(traceback));
}

/* PEP 3333: exc_info allows a second call, which replaces the first one before
 * the headers are sent. The tuple is only read, never kept. */
static int
begin_call(StartResponseObject *self, struct response *r, PyObject *exc_info)
{
    bool again = self->called;

    self->called = true;
    if (exc_info == Py_None) {
        if (again) {
            PyErr_SetString(PyExc_AssertionError,
                            "start_response() was called a second time without "
                            "exc_info");
        }
        return again ? -1 : 0;
    }
    if (!PyTuple_Check(exc_info) || PyTuple_GET_SIZE(exc_info) != 3) {
        PyErr_Format(PyExc_TypeError,
                     "exc_info must be what sys.exc_info() returns, not %.200s",
                     Py_TYPE(exc_info)->tp_name);
        return -1;
    }
    if (r->state != RESPONSE_NONE && r->state != RESPONSE_SET) {
        raise_again(exc_info);
        return -1;
    }
    response_reset(r);
    return 0;
}

/* -- write() --------------------------------------------------------------- */

static int
raise_write_error(struct request_guard *guard, int err)
{
    if (err == -EBUSY) {
        PyErr_SetString(PyExc_RuntimeError,
                        "write() must be called in the thread that runs the "
                        "request");
        return -1;
    }
    if (err == -ENOMEM) {
        PyErr_NoMemory();
        return -1;
    }
    if (err == -ECANCELED) {
        return request_timeout_raise(guard);
    }
    assert(err < 0);
    request_guard_set_gone(guard, err, GUARD_RESPONSE);
    return request_guard_raise(
        err, response_is_peer_error(err)
                 ? "the client went away before it had the response"
                 : strerror(-err));
}

static int
write_inside(struct request_guard *guard, PyObject *block)
{
    struct response *r = &guard->q->response;

    assert(PyBytes_Check(block));
    if (r->state == RESPONSE_NONE) {
        PyErr_SetString(PyExc_AssertionError,
                        "write() was called, but the last call of "
                        "start_response() failed");
        return -1;
    }
    int e = response_write(guard->q, PyBytes_AS_STRING(block),
                           (size_t)PyBytes_GET_SIZE(block));
    if (e < 0) {
        return raise_write_error(guard, e);
    }
    if (r->cut) {
        PyErr_Format(PyExc_ValueError,
                     "write() went beyond the Content-Length of %llu bytes",
                     (unsigned long long)r->content_length);
        return -1;
    }
    return 0;
}

static PyObject *
write_block(PyObject *self, PyObject *block)
{
    if (!PyBytes_Check(block)) {
        PyErr_Format(PyExc_TypeError, "write() takes bytes, not %.200s",
                     Py_TYPE(block)->tp_name);
        return NULL;
    }
    struct request_guard *guard = request_guard_enter_object(
        &((StartResponseObject *)self)->guard, write_name);
    if (guard == NULL) {
        return NULL;
    }
    int r = write_inside(guard, block);
    request_guard_leave(guard);
    return r < 0 ? NULL : Py_NewRef(Py_None);
}

/* Bound to its StartResponse, which expires. */
static PyMethodDef write_def = {"write", write_block, METH_O, NULL};

/* -- the callable ---------------------------------------------------------- */

static int
call_inside(StartResponseObject *self, struct response *r, PyObject *status,
            PyObject *headers, PyObject *exc_info)
{
    assert(!PyErr_Occurred());
    if (begin_call(self, r, exc_info) < 0) {
        return -1;
    }
    if (set_status(r, status) < 0 || add_headers(r, headers) < 0) {
        response_reset(r); /* a refused head leaves nothing behind */
        return -1;
    }
    return 0;
}

static PyObject *
start_response_call(PyObject *callable, PyObject *const *args, size_t nargsf,
                    PyObject *names)
{
    StartResponseObject *self = (StartResponseObject *)callable;
    Py_ssize_t n = PyVectorcall_NARGS(nargsf);

    if (names != NULL && PyTuple_GET_SIZE(names) > 0) {
        PyErr_SetString(PyExc_TypeError,
                        "start_response() takes its arguments by position");
        return NULL;
    }
    if (n != 2 && n != 3) {
        PyErr_Format(PyExc_TypeError,
                     "start_response() takes 2 or 3 arguments, not %zd", n);
        return NULL;
    }
    struct request_guard *guard =
        request_guard_enter_object(&self->guard, start_response_name);
    if (guard == NULL) {
        return NULL;
    }
    int r = call_inside(self, &guard->q->response, args[0], args[1],
                        n == 3 ? args[2] : Py_None);
    request_guard_leave(guard);
    return r < 0 ? NULL : PyCFunction_New(&write_def, callable);
}

/* -- the type -------------------------------------------------------------- */

static void
start_response_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_Free(self);
    Py_DECREF(type);
}

static PyMemberDef start_response_members[] = {
    {"__vectorcalloffset__", Py_T_PYSSIZET,
     offsetof(StartResponseObject, vectorcall), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(
    start_response_doc,
    "start_response(status, headers, exc_info=None, /)\n"
    "--\n"
    "\n"
    "Set the status (str) and the headers (a list of tuples of two str), and\n"
    "return write(), which takes bytes.\n"
    "\n"
    "Raises TypeError or ValueError for a wrong status or header,\n"
    "AssertionError for a second call without exc_info, and RuntimeError\n"
    "after the response (PEP 3333, The start_response() Callable).");

static PyType_Slot start_response_slots[] = {
    {Py_tp_dealloc, start_response_dealloc},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, start_response_members},
    {Py_tp_doc, (void *)(uintptr_t)start_response_doc},
    {0, NULL},
};

static PyType_Spec start_response_spec = {
    .name = "_wsgi_cgi.StartResponse",
    .basicsize = (int)sizeof(StartResponseObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = start_response_slots,
};

PyObject *
start_response_type(PyObject *module)
{
    return PyType_FromModuleAndSpec(module, &start_response_spec, NULL);
}

PyObject *
start_response_new(PyTypeObject *type, struct request_guard *guard)
{
    StartResponseObject *self = PyObject_New(StartResponseObject, type);

    if (self != NULL) {
        self->vectorcall = start_response_call;
        atomic_init(&self->guard, guard);
        self->called = false;
    }
    return (PyObject *)self;
}

void
start_response_expire(PyObject *callable)
{
    if (callable != NULL) {
        atomic_store_explicit(&((StartResponseObject *)callable)->guard, NULL,
                              memory_order_relaxed);
    }
}
