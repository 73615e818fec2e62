/*
 * input_stream.c - wsgi.input: the body of the request as a file
 *
 * read() copies nothing twice: the body goes from the transport straight into
 * the bytes object. Only readline() reads ahead, since it cannot know where its
 * line ends.
 */
#include "context/input_stream.h"

#include "base/buf.h"
#include "context/request_timeout.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    AHEAD_SIZE = 8 << 10,       /* readline() asks for this much */
    FIRST_READ_SIZE = 64 << 10, /* read() of a body without a length */
    /* the client may not send what CONTENT_LENGTH promises */
    FIRST_READ_MAX = 1 << 20
};

static const char input_name[] = "wsgi.input";

/* stream never changes; ahead and pos are used inside the guard. */
typedef struct {
    PyObject_HEAD request_guard_ref guard; /* NULL: the request is over */
    enum request_stream stream;
    struct buf ahead; /* read ahead; from pos on not handed out yet */
    size_t pos;
} InputStreamObject;

/* -- bytes from the request (inside the guard) ----------------------------- */

static size_t
ahead_len(const InputStreamObject *in)
{
    return in->ahead.len - in->pos;
}

static void
ahead_skip(InputStreamObject *in, size_t n)
{
    assert(n <= ahead_len(in));
    in->pos += n;
    if (in->pos == in->ahead.len) {
        in->pos = in->ahead.len = 0;
    }
}

static int
raise_read_error(struct request_guard *g, int err)
{
    if (err == -ECANCELED && pthread_equal(g->thread, pthread_self())) {
        return request_timeout_raise(g);
    }
    if (err == -EPIPE || err == -ECONNRESET || err == -ECONNABORTED) {
        request_guard_set_gone(g, err, GUARD_REQUEST);
    }
    return request_guard_raise(err, request_read_strerror(err));
}

/* It has not expired. */
static struct request_guard *
guard_of(const InputStreamObject *in)
{
    return atomic_load_explicit(&in->guard, memory_order_relaxed);
}

/* The number of bytes, 0 at the end, -1 with an exception. */
static ssize_t
receive(InputStreamObject *in, void *to, size_t size)
{
    struct request_guard *g = guard_of(in);
    ssize_t n = request_read(g->q, in->stream, to, size);

    assert(n <= (ssize_t)size);
    return n < 0 ? raise_read_error(g, (int)n) : n;
}

/* Reads what comes next and appends it to ahead. Returns as receive(). */
static ssize_t
receive_ahead(InputStreamObject *in)
{
    if (in->pos > 0) {
        buf_consume(&in->ahead, in->pos);
        in->pos = 0;
    }
    if (buf_reserve(&in->ahead, AHEAD_SIZE) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    ssize_t n = receive(in, in->ahead.data + in->ahead.len,
                        in->ahead.cap - in->ahead.len);
    if (n > 0) {
        in->ahead.len += (size_t)n;
    }
    return n;
}

/* How many bytes may still come; SIZE_MAX if unknown. */
static size_t
bytes_left(const InputStreamObject *in)
{
    const struct request *q = guard_of(in)->q;

    if (in->stream != STREAM_STDIN || q->content_length < 0) {
        return SIZE_MAX;
    }
    assert(q->body_read <= (uint64_t)q->content_length);
    return (size_t)((uint64_t)q->content_length - q->body_read) + ahead_len(in);
}

static size_t
size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t
take_ahead(InputStreamObject *in, char *to, size_t size)
{
    size_t n = size_min(ahead_len(in), size);

    if (n > 0) {
        memcpy(to, in->ahead.data + in->pos, n);
        ahead_skip(in, n);
    }
    return n;
}

/* Resizes bytes to twice *cap, but at most to want. 0, or -1 with an
 * exception. */
static int
grow(PyObject **bytes, size_t *cap, size_t want)
{
    assert(*cap < want);
    *cap = *cap > want / 2 ? want : *cap * 2;
    if (*cap > PY_SSIZE_T_MAX / 2) {
        PyErr_NoMemory();
        return -1;
    }
    return _PyBytes_Resize(bytes, (Py_ssize_t)*cap);
}

/* Reads want bytes, fewer only at the end; SIZE_MAX means all. */
static PyObject *
read_bytes(InputStreamObject *in, size_t want)
{
    size_t left = bytes_left(in);
    size_t cap =
        left == SIZE_MAX ? FIRST_READ_SIZE : size_min(left, FIRST_READ_MAX);
    CLEANUP(py_clear) PyObject *bytes = NULL;
    size_t len = 0;

    want = size_min(want, left);
    cap = size_min(want, cap > ahead_len(in) ? cap : ahead_len(in));
    bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)cap);
    if (bytes == NULL || want == 0) {
        return py_steal(&bytes);
    }
    len = take_ahead(in, PyBytes_AS_STRING(bytes), cap);
    while (len < want) {
        if (len == cap && grow(&bytes, &cap, want) < 0) {
            return NULL;
        }
        ssize_t n = receive(in, PyBytes_AS_STRING(bytes) + len, cap - len);
        if (n < 0) {
            return NULL;
        }
        if (n == 0) {
            break;
        }
        len += (size_t)n;
    }
    if (len < cap && _PyBytes_Resize(&bytes, (Py_ssize_t)len) < 0) {
        return NULL;
    }
    return py_steal(&bytes);
}

/* Reads up to want bytes, as soon as there are any. */
static PyObject *
read_some(InputStreamObject *in, size_t want)
{
    size_t cap = size_min(want, FIRST_READ_SIZE);
    CLEANUP(py_clear)
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)cap);

    if (bytes == NULL || cap == 0) {
        return py_steal(&bytes);
    }
    ssize_t n = (ssize_t)take_ahead(in, PyBytes_AS_STRING(bytes), cap);
    if (n == 0) {
        n = receive(in, PyBytes_AS_STRING(bytes), cap);
    }
    if (n < 0 || _PyBytes_Resize(&bytes, n) < 0) {
        return NULL;
    }
    return py_steal(&bytes);
}

/* Reads a line of at most want bytes; waits for no byte behind it. */
static PyObject *
read_line(InputStreamObject *in, size_t want)
{
    size_t seen = 0; /* bytes of ahead that are known to have no newline */
    size_t n;

    for (;;) {
        size_t have = size_min(ahead_len(in), want);
        if (have > seen) {
            const char *start = in->ahead.data + in->pos;
            const char *end = memchr(start + seen, '\n', have - seen);
            if (end != NULL) {
                n = (size_t)(end - start) + 1;
                break;
            }
        }
        n = seen = have;
        if (have == want) {
            break;
        }
        ssize_t more = receive_ahead(in);
        if (more < 0) {
            return NULL;
        }
        if (more == 0) {
            break;
        }
    }
    PyObject *bytes = PyBytes_FromStringAndSize(
        n == 0 ? "" : in->ahead.data + in->pos, (Py_ssize_t)n);
    if (bytes != NULL) {
        ahead_skip(in, n);
    }
    return bytes;
}

/* -- methods --------------------------------------------------------------- */

typedef PyObject *(*read_fn)(InputStreamObject *in, size_t want);

static PyObject *
call_inside(PyObject *self, read_fn fn, size_t want)
{
    InputStreamObject *in = (InputStreamObject *)self;
    struct request_guard *guard =
        request_guard_enter_object(&in->guard, input_name);

    if (guard == NULL) {
        return NULL;
    }
    PyObject *result = fn(in, want);
    request_guard_leave(guard);
    return result;
}

/* Parses the optional size argument: None and negative numbers mean all. */
static int
parse_size(PyObject *const *args, Py_ssize_t nargs, const char *method,
           size_t *ret_size)
{
    *ret_size = SIZE_MAX;
    if (nargs > 1) {
        PyErr_Format(PyExc_TypeError,
                     "%s() takes at most 1 argument (%zd given)", method,
                     nargs);
        return -1;
    }
    if (nargs == 0 || args[0] == Py_None) {
        return 0;
    }
    Py_ssize_t n = PyNumber_AsSsize_t(args[0], PyExc_OverflowError);
    if (n == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (n >= 0) {
        *ret_size = (size_t)n;
    }
    return 0;
}

static PyObject *
read_sized(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
           const char *method, read_fn fn)
{
    size_t size;

    return parse_size(args, nargs, method, &size) < 0
               ? NULL
               : call_inside(self, fn, size);
}

static PyObject *
method_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return read_sized(self, args, nargs, "read", read_bytes);
}

static PyObject *
method_read1(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return read_sized(self, args, nargs, "read1", read_some);
}

static PyObject *
method_readline(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return read_sized(self, args, nargs, "readline", read_line);
}

static PyObject *
method_readlines(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    size_t hint, total = 0;

    if (parse_size(args, nargs, "readlines", &hint) < 0) {
        return NULL;
    }
    CLEANUP(py_clear) PyObject *lines = PyList_New(0);
    while (lines != NULL) {
        CLEANUP(py_clear)
        PyObject *line = call_inside(self, read_line, SIZE_MAX);
        if (line == NULL) {
            return NULL;
        }
        if (PyBytes_GET_SIZE(line) == 0) {
            break;
        }
        if (PyList_Append(lines, line) < 0) {
            return NULL;
        }
        total += (size_t)PyBytes_GET_SIZE(line);
        if (hint > 0 && total >= hint) {
            break;
        }
    }
    return py_steal(&lines);
}

static PyObject *
method_next(PyObject *self)
{
    PyObject *line = call_inside(self, read_line, SIZE_MAX);

    if (line != NULL && PyBytes_GET_SIZE(line) == 0) {
        Py_CLEAR(line); /* NULL without an exception means StopIteration */
    }
    return line;
}

/* One read, as in a raw stream, so that io.BufferedReader does not wait for
 * more. */
static PyObject *
method_readinto(PyObject *self, PyObject *target)
{
    Py_buffer view;

    if (PyObject_GetBuffer(target, &view, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    CLEANUP(py_clear)
    PyObject *bytes = call_inside(self, read_some, (size_t)view.len);
    Py_ssize_t n = bytes == NULL ? -1 : PyBytes_GET_SIZE(bytes);
    if (n > 0) {
        memcpy(view.buf, PyBytes_AS_STRING(bytes), (size_t)n);
    }
    PyBuffer_Release(&view);
    return n < 0 ? NULL : PyLong_FromSsize_t(n);
}

static PyObject *
method_true(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    Py_RETURN_TRUE;
}

static PyObject *
method_false(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    Py_RETURN_FALSE;
}

/* close() and flush(). PEP 3333: the application must not close it, but
 * io.TextIOWrapper and io.BufferedReader do when they are collected. */
static PyObject *
method_nothing(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    Py_RETURN_NONE;
}

static PyObject *
get_closed(PyObject *self, void *unused)
{
    (void)self;
    (void)unused;
    Py_RETURN_FALSE;
}

#define FASTCALL(FN) (PyCFunction)(void (*)(void))(FN), METH_FASTCALL

static PyMethodDef stream_methods[] = {
    {"read", FASTCALL(method_read), NULL},
    {"read1", FASTCALL(method_read1), NULL},
    {"readline", FASTCALL(method_readline), NULL},
    {"readlines", FASTCALL(method_readlines), NULL},
    {"readinto", method_readinto, METH_O, NULL},
    {"readable", method_true, METH_NOARGS, NULL},
    {"writable", method_false, METH_NOARGS, NULL},
    {"seekable", method_false, METH_NOARGS, NULL},
    {"close", method_nothing, METH_NOARGS, NULL},
    {"flush", method_nothing, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef stream_attributes[] = {
    {"closed", get_closed, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* -- the type -------------------------------------------------------------- */

static void
stream_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    buf_fini(&((InputStreamObject *)self)->ahead);
    PyObject_Free(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(
    stream_doc,
    "wsgi.input: the body of the request as a binary file.\n"
    "\n"
    "Sizes are in bytes; None and negative numbers mean all. Raises\n"
    "OSError if the body is cut short, late or too large, and\n"
    "RuntimeError after the request (PEP 3333, Input and Error Streams).");

static PyType_Slot stream_slots[] = {
    {Py_tp_dealloc, stream_dealloc},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, method_next},
    {Py_tp_methods, stream_methods},
    {Py_tp_getset, stream_attributes},
    {Py_tp_doc, (void *)(uintptr_t)stream_doc},
    {0, NULL},
};

static PyType_Spec stream_spec = {
    .name = "_wsgi_cgi.InputStream",
    .basicsize = (int)sizeof(InputStreamObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = stream_slots,
};

PyObject *
input_stream_type(PyObject *module)
{
    return PyType_FromModuleAndSpec(module, &stream_spec, NULL);
}

PyObject *
input_stream_new(PyTypeObject *type, struct request_guard *guard,
                 enum request_stream stream)
{
    InputStreamObject *in = PyObject_New(InputStreamObject, type);

    if (in != NULL) {
        atomic_init(&in->guard, guard);
        in->stream = stream;
        in->pos = 0;
        buf_init(&in->ahead, PY_SSIZE_T_MAX);
    }
    return (PyObject *)in;
}

void
input_stream_expire(PyObject *input)
{
    if (input != NULL) {
        atomic_store_explicit(&((InputStreamObject *)input)->guard, NULL,
                              memory_order_relaxed);
    }
}
