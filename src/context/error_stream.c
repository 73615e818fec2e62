/*
 * error_stream.c - wsgi.errors, sys.stdout and sys.stderr
 *
 * One line buffer per thread serves all streams: what print() and wsgi.errors
 * write in one thread stays in order, and lines of two threads never mix.
 */
#include "context/error_stream.h"

#include "base/buf.h"
#include "context/request_guard.h"
#include "os/log.h"
#include "text/utf8.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    LINE_PIECE_SIZE = 8 << 10, /* a longer line goes out in pieces */
    LINE_BUFFER_MAX = 64 << 10
};

/* Nothing of it changes. */
typedef struct {
    PyObject_HEAD const char *name;
    /* .buffer, the stream that takes bytes; NULL if this is that stream */
    PyObject *binary;
    bool is_stdout;
} ErrorStreamObject;

/* -- lines ----------------------------------------------------------------- */

/* Each thread's own: no lock. */
static _Thread_local struct buf line;
static _Thread_local bool line_is_initialised;
static _Thread_local bool has_cgi_head;
static pthread_key_t line_key;
static pthread_once_t line_once = PTHREAD_ONCE_INIT;

/* Sends the unfinished line of a thread that ends. Runs without the GIL. */
static void
line_destroy(void *thread_line)
{
    struct buf *b = thread_line;

    log_output(NULL, b->data, b->len);
    buf_fini(b);
}

static void
line_key_create(void)
{
    (void)pthread_key_create(&line_key, line_destroy);
}

static void
line_init(void)
{
    if (!line_is_initialised) {
        buf_init(&line, LINE_BUFFER_MAX);
        (void)pthread_once(&line_once, line_key_create);
        (void)pthread_setspecific(line_key, &line);
        line_is_initialised = true;
    }
}

static void
send_lines(const char *bytes, size_t n)
{
    struct request_guard *g = request_guard_current();
    const char *id;

    if (n == 0) {
        return;
    }
    /* Release the GIL for fd 2, whose reader may be slow. request_errors()
     * releases it by itself. */
    if (g != NULL && request_guard_try_enter(g)) {
        bool tells_server = request_tells_server(g->q);
        if (tells_server) {
            request_errors(g->q, bytes, n);
        }
        request_guard_leave(g);
        if (tells_server) {
            return;
        }
    }
    id = g != NULL ? request_id(g->q) : request_running_id();
    Py_BEGIN_ALLOW_THREADS log_output(id, bytes, n);
    Py_END_ALLOW_THREADS
}

/* Keeps the beginning of a line; sends it in pieces if it is too long. */
static void
keep_rest(const char *bytes, size_t n)
{
    while (n > 0) {
        size_t room = LINE_BUFFER_MAX - line.len;
        size_t piece = n < room ? n : room;
        assert(line.len <= LINE_BUFFER_MAX);
        if (buf_add(&line, bytes, piece) < 0) {
            error_stream_flush();
            send_lines(bytes, n);
            return;
        }
        if (line.len > LINE_PIECE_SIZE) {
            size_t now = utf8_whole(line.data, line.len);
            send_lines(line.data, now);
            buf_consume(&line, now);
        }
        bytes += piece;
        n -= piece;
    }
}

void
error_stream_write(const char *bytes, size_t n)
{
    ASSERT_ATTACHED();
    line_init();
    const char *last = n == 0 ? NULL : memrchr(bytes, '\n', n);
    size_t whole = last == NULL ? 0 : (size_t)(last - bytes) + 1;

    if (whole > 0 && line.len > 0 && buf_add(&line, bytes, whole) == 0) {
        error_stream_flush();
    }
    else if (whole > 0) {
        error_stream_flush();
        send_lines(bytes, whole);
    }
    keep_rest(bytes + whole, n - whole);
}

void
error_stream_flush(void)
{
    ASSERT_ATTACHED();
    if (line.len > 0) {
        send_lines(line.data, line.len);
        line.len = 0;
    }
}

void
error_stream_end_line(void)
{
    if (line.len > 0) {
        error_stream_write("\n", 1);
    }
}

static bool
is_cgi_head(const char *text, size_t n)
{
    static const char *const names[] = {
        "Content-Type:", "Status:", "Location:"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        size_t len = strlen(names[i]);
        if (n >= len && strncasecmp(text, names[i], len) == 0) {
            return true;
        }
    }
    return false;
}

bool
error_stream_take_cgi_head(void)
{
    bool had = has_cgi_head;

    has_cgi_head = false;
    return had;
}

/* -- methods --------------------------------------------------------------- */

/* Text must never make an error report fail: what UTF-8 cannot encode (lone
 * surrogates) is written as \udc80. */
static int
write_text(PyObject *text, bool is_stdout)
{
    if (py_unicode_ready(text) < 0) {
        return -1;
    }
    if (PyUnicode_IS_ASCII(text)) {
        has_cgi_head =
            has_cgi_head ||
            (is_stdout && is_cgi_head((const char *)PyUnicode_1BYTE_DATA(text),
                                      (size_t)PyUnicode_GET_LENGTH(text)));
        error_stream_write((const char *)PyUnicode_1BYTE_DATA(text),
                           (size_t)PyUnicode_GET_LENGTH(text));
        return 0;
    }
    CLEANUP(py_clear)
    PyObject *bytes =
        PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
    if (bytes == NULL) {
        return -1;
    }
    error_stream_write(PyBytes_AS_STRING(bytes),
                       (size_t)PyBytes_GET_SIZE(bytes));
    return 0;
}

static PyObject *
write_binary(PyObject *bytes)
{
    Py_buffer view;

    if (PyObject_GetBuffer(bytes, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    error_stream_write(view.buf, (size_t)view.len);
    Py_ssize_t n = view.len;
    PyBuffer_Release(&view);
    return PyLong_FromSsize_t(n);
}

static PyObject *
method_write(PyObject *self, PyObject *text)
{
    const ErrorStreamObject *stream = (ErrorStreamObject *)self;

    if (stream->binary == NULL) {
        return write_binary(text);
    }
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError,
                     "write() argument must be str, not %.200s",
                     Py_TYPE(text)->tp_name);
        return NULL;
    }
    if (write_text(text, stream->is_stdout) < 0) {
        return NULL;
    }
    return PyLong_FromSsize_t(PyUnicode_GET_LENGTH(text));
}

static PyObject *
method_writelines(PyObject *self, PyObject *lines)
{
    CLEANUP(py_clear) PyObject *it = PyObject_GetIter(lines);
    if (it == NULL) {
        return NULL;
    }
    for (;;) {
        CLEANUP(py_clear) PyObject *item = PyIter_Next(it);
        if (item == NULL) {
            break;
        }
        CLEANUP(py_clear) PyObject *written = method_write(self, item);
        if (written == NULL) {
            return NULL;
        }
    }
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *
method_flush(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    error_stream_flush();
    Py_RETURN_NONE;
}

/* Child processes that share this stream get fd 2. */
static PyObject *
method_fileno(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return PyLong_FromLong(2);
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

/* Accepts any arguments: an application may set the encoding as it would for
 * stdout, but the log has only one. */
static PyObject *
method_reconfigure(PyObject *self, PyObject *args, PyObject *kwargs)
{
    (void)self;
    (void)args;
    (void)kwargs;
    error_stream_flush();
    Py_RETURN_NONE;
}

static PyMethodDef stream_methods[] = {
    {"write", method_write, METH_O, NULL},
    {"writelines", method_writelines, METH_O, NULL},
    {"flush", method_flush, METH_NOARGS, NULL},
    {"close", method_flush, METH_NOARGS, NULL},
    {"fileno", method_fileno, METH_NOARGS, NULL},
    {"isatty", method_false, METH_NOARGS, NULL},
    {"readable", method_false, METH_NOARGS, NULL},
    {"writable", method_true, METH_NOARGS, NULL},
    {"seekable", method_false, METH_NOARGS, NULL},
    {"reconfigure", (PyCFunction)(void (*)(void))method_reconfigure,
     METH_VARARGS | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};

/* -- attributes ------------------------------------------------------------ */

static PyObject *
get_text(PyObject *self, void *text)
{
    (void)self;
    return PyUnicode_FromString(text);
}

static PyObject *
get_name(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(((ErrorStreamObject *)self)->name);
}

static PyObject *
get_buffer(PyObject *self, void *unused)
{
    PyObject *binary = ((ErrorStreamObject *)self)->binary;

    (void)unused;
    if (binary == NULL) {
        PyErr_SetString(PyExc_AttributeError, "buffer");
        return NULL;
    }
    return Py_NewRef(binary);
}

static PyObject *
get_bool(PyObject *self, void *value)
{
    (void)self;
    return PyBool_FromLong(value != NULL);
}

static PyObject *
get_none(PyObject *self, void *unused)
{
    (void)self;
    (void)unused;
    Py_RETURN_NONE;
}

static char text_mode[] = "w";
static char text_encoding[] = "utf-8";
static char text_errors[] = "backslashreplace";

static PyGetSetDef stream_attributes[] = {
    {"name", get_name, NULL, NULL, NULL},
    {"mode", get_text, NULL, NULL, text_mode},
    {"encoding", get_text, NULL, NULL, text_encoding},
    {"errors", get_text, NULL, NULL, text_errors},
    {"newlines", get_none, NULL, NULL, NULL},
    {"buffer", get_buffer, NULL, NULL, NULL},
    {"closed", get_bool, NULL, NULL, NULL},
    {"line_buffering", get_bool, NULL, NULL, text_mode},
    {NULL, NULL, NULL, NULL, NULL},
};

/* -- the type -------------------------------------------------------------- */

static void
stream_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    Py_CLEAR(((ErrorStreamObject *)self)->binary);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *
stream_repr(PyObject *self)
{
    return PyUnicode_FromFormat("<_wsgi_cgi.ErrorStream %s>",
                                ((ErrorStreamObject *)self)->name);
}

PyDoc_STRVAR(
    stream_doc,
    "wsgi.errors, sys.stdout and sys.stderr: text for the log.\n"
    "\n"
    "write() takes any str; its .buffer takes bytes. Text is sent to the\n"
    "log in whole lines; flush() sends the beginning of a line\n"
    "(PEP 3333, Input and Error Streams).");

static PyType_Slot stream_slots[] = {
    {Py_tp_dealloc, stream_dealloc},
    {Py_tp_repr, stream_repr},
    {Py_tp_methods, stream_methods},
    {Py_tp_getset, stream_attributes},
    {Py_tp_doc, (void *)(uintptr_t)stream_doc},
    {0, NULL},
};

static PyType_Spec stream_spec = {
    .name = "_wsgi_cgi.ErrorStream",
    .basicsize = (int)sizeof(ErrorStreamObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = stream_slots,
};

PyObject *
error_stream_type(PyObject *module)
{
    return PyType_FromModuleAndSpec(module, &stream_spec, NULL);
}

static PyObject *
make_stream(PyTypeObject *type, const char *name, PyObject *binary)
{
    ErrorStreamObject *stream = PyObject_New(ErrorStreamObject, type);

    assert(name != NULL);
    if (stream != NULL) {
        stream->name = name;
        stream->binary = Py_XNewRef(binary);
        stream->is_stdout = strcmp(name, "<stdout>") == 0;
    }
    return (PyObject *)stream;
}

PyObject *
error_stream_new(PyTypeObject *type, const char *name)
{
    CLEANUP(py_clear) PyObject *binary = make_stream(type, name, NULL);
    return binary == NULL ? NULL : make_stream(type, name, binary);
}

int
error_stream_install(PyTypeObject *type)
{
    ASSERT_ATTACHED();
    CLEANUP(py_clear) PyObject *out = error_stream_new(type, "<stdout>");
    CLEANUP(py_clear) PyObject *err = error_stream_new(type, "<stderr>");
    if (out == NULL || err == NULL || PySys_SetObject("stdout", out) < 0 ||
        PySys_SetObject("stderr", err) < 0) {
        return -1;
    }
    return 0;
}
