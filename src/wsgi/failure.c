/*
 * failure.c - requests that do not end well: the log line and the answer
 */
#include "wsgi/failure.h"

#include "base/buf.h"
#include "wsgi/apps.h"
#include "wsgi/errors.h"
#include "wsgi/interrupt.h"
#include "wsgi/page.h"
#include "wsgi/timeout.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum { PAGE_MAX = 4 << 20 };

static const char name[] = "the response";

/* -- the log ---------------------------------------------------------------------- */

/* "  File "app.py", line 3, in application", of one frame. */
static PyObject *
format_frame(PyObject *frame)
{
    CLEANUP(py_clear) PyObject *of = PyObject_GetAttrString(frame, "tb_frame");
    CLEANUP(py_clear)
    PyObject *line = PyObject_GetAttrString(frame, "tb_lineno");
    CLEANUP(py_clear)
    PyObject *code = of == NULL ? NULL : PyObject_GetAttrString(of, "f_code");
    CLEANUP(py_clear)
    PyObject *file =
        code == NULL ? NULL : PyObject_GetAttrString(code, "co_filename");
    CLEANUP(py_clear)
    PyObject *function =
        code == NULL ? NULL : PyObject_GetAttrString(code, "co_name");

    return line == NULL || file == NULL || function == NULL
               ? NULL
               : PyUnicode_FromFormat("  File \"%S\", line %S, in %S\n", file,
                                      line, function);
}

/* What a line of it says without the module traceback. */
static PyObject *
plain_lines(PyObject *exc, PyObject *why)
{
    CLEANUP(py_clear) PyObject *lines = PyList_New(0);
    CLEANUP(py_clear)
    PyObject *first =
        PyUnicode_FromFormat("Traceback (most recent call last):\n"
                             "  (no source lines, since the module traceback "
                             "cannot be used: %s: %S)\n",
                             Py_TYPE(why)->tp_name, why);
    CLEANUP(py_clear)
    PyObject *last =
        first == NULL
            ? NULL
            : PyUnicode_FromFormat("%s: %S\n", Py_TYPE(exc)->tp_name, exc);
    PyObject *frame = PyException_GetTraceback(exc);
    int r = lines == NULL || last == NULL ? -1 : PyList_Append(lines, first);

    while (r == 0 && frame != NULL && frame != Py_None) {
        CLEANUP(py_clear) PyObject *text = format_frame(frame);
        PyObject *next = PyObject_GetAttrString(frame, "tb_next");
        r = text == NULL || next == NULL ? -1 : PyList_Append(lines, text);
        Py_SETREF(frame, next);
    }
    Py_XDECREF(frame);
    return r < 0 || PyList_Append(lines, last) < 0 ? NULL : py_take(&lines);
}

static PyObject *
lines_of(PyObject *exc)
{
    CLEANUP(py_clear) PyObject *module = PyImport_ImportModule("traceback");
    CLEANUP(py_clear) PyObject *frames = PyException_GetTraceback(exc);
    CLEANUP(py_clear)
    PyObject *format =
        module == NULL ? NULL : py_attr(module, "format_exception");

    return format == NULL ? NULL
                          : PyObject_CallFunctionObjArgs(
                                format, (PyObject *)Py_TYPE(exc), exc,
                                frames == NULL ? Py_None : frames, NULL);
}

/* A module of the application may stand in front of one that traceback imports:
 * a token.py does. */
PyObject *
failure_traceback(PyObject *exc)
{
    CLEANUP(py_clear) PyObject *lines = lines_of(exc);
    CLEANUP(py_clear) PyObject *why = lines == NULL ? py_catch() : NULL;

    if (why != NULL) {
        lines = plain_lines(exc, why);
    }
    CLEANUP(py_clear) PyObject *empty = PyUnicode_FromString("");
    if (lines == NULL || empty == NULL) {
        return NULL;
    }
    CLEANUP(py_clear) PyObject *text = PyUnicode_Join(empty, lines);
    return text == NULL
               ? NULL
               : PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
}

void
failure_prepare(void)
{
    ASSERT_GIL();
    /* A whole exception is formatted, since versions of CPython differ in what
     * they import when: this one, an AttributeError, has a frame in a small file
     * of the standard library. */
    CLEANUP(py_clear) PyObject *module = PyImport_ImportModule("linecache");
    CLEANUP(py_clear)
    PyObject *r = module == NULL
                      ? NULL
                      : PyObject_CallMethod(module, "updatecache", "i", 1);
    CLEANUP(py_clear) PyObject *exc = r == NULL ? py_catch() : NULL;
    CLEANUP(py_clear)
    PyObject *text = exc == NULL ? NULL : failure_traceback(exc);

    (void)text;
    PyErr_Clear();
#if PY_VERSION_HEX >= 0x030C0000
    /* It measures source lines that are not ASCII. */
    CLEANUP(py_clear) PyObject *data = PyImport_ImportModule("unicodedata");
    PyErr_Clear();
#endif
}

static void
log_exception(struct lease *l, PyObject *exc, const char *where)
{
    CLEANUP(py_clear) PyObject *text = failure_traceback(exc);
    const char *missing = text == NULL ? " (no memory for its traceback)" : "";
    const char *lines = text == NULL ? NULL : PyBytes_AS_STRING(text);
    size_t n = text == NULL ? 0 : (size_t)PyBytes_GET_SIZE(text);

    PyErr_Clear();
    errors_end_line();
    if (lease_enter(l, name) < 0) {
        PyErr_Clear();
        return;
    }
    request_log_more(l->q, LOG_LEVEL_ERROR, lines, n, "%s raised %s%s", where,
                     Py_TYPE(exc)->tp_name, missing);
    lease_leave(l);
}

void
failure_note(struct lease *l, const char *where)
{
    CLEANUP(py_clear) PyObject *exc = py_catch();

    if (exc != NULL) {
        log_exception(l, exc, where);
    }
}

/* -- the answer -------------------------------------------------------------------- */

/* True where exc is what a read or write raised for -errno. */
static bool
is_os_error(PyObject *exc, int err)
{
    if (err == 0 || !PyErr_GivenExceptionMatches(exc, PyExc_OSError)) {
        return false;
    }
    CLEANUP(py_clear) PyObject *value = py_attr(exc, "errno");
    bool same =
        value != NULL && PyLong_Check(value) && PyLong_AsLong(value) == -err;
    PyErr_Clear();
    return same;
}

static const struct request_answer *
find_answer(const struct lease *l, PyObject *exc)
{
    static const struct request_answer not_found = {
        0, "404 Not Found", "There is no such script on this server."};

    const struct request_answer *answer = request_read_answer(l->q->body_error);

    /* Of the body, and the client's: no traceback, no 500. */
    if (answer != NULL && is_os_error(exc, answer->err)) {
        return answer;
    }
    return apps_is_not_found(exc) ? &not_found : NULL;
}

static void
answer_page(struct lease *l, PyObject *exc, const char *status,
            const char *sentence)
{
    struct request *q = l->q;
    struct buf page;

    buf_init(&page, PAGE_MAX);
    bool has_page = q->config->debug && !response_head_sent(&q->response) &&
                    page_debug(q, exc, &page) == 0;
    if (lease_enter(l, name) == 0) {
        if (has_page) {
            response_error_page(q, status, page.data, page.len);
        }
        else {
            response_error(q, status, sentence, request_id(q));
        }
        lease_leave(l);
    }
    PyErr_Clear();
    buf_fini(&page);
}

/* The log says as well which script it was, and why it is none. */
static void
answer_other(struct lease *l, const struct request_answer *answer,
             PyObject *exc)
{
    CLEANUP(py_clear)
    PyObject *text = apps_is_not_found(exc) ? PyObject_Str(exc) : NULL;
    const char *why = text == NULL ? NULL : PyUnicode_AsUTF8(text);

    PyErr_Clear();
    if (lease_enter(l, name) < 0) {
        PyErr_Clear();
        return;
    }
    request_log(l->q, LOG_LEVEL_INFO, "%s",
                why == NULL ? answer->sentence : why);
    response_error(l->q, answer->status, answer->sentence, NULL);
    lease_leave(l);
}

/* Where its stack was is in the log already. */
static void
answer_timeout(struct lease *l, PyObject *exc)
{
    if (!timeout_is(exc)) {
        log_exception(l, exc, "the application, when it was to end,");
    }
    if (lease_enter(l, name) == 0) {
        request_log(l->q, LOG_LEVEL_ERROR, "ended by --request-timeout");
        lease_leave(l);
    }
    PyErr_Clear();
    answer_page(l, exc, REQUEST_TIMEOUT_STATUS, REQUEST_TIMEOUT_SENTENCE);
}

static void
answer_exception(struct lease *l, PyObject *exc)
{
    if (is_os_error(exc, l->gone)) {
        failure_gone(l);
        return;
    }
    if (timeout_was_told(l)) {
        answer_timeout(l, exc);
        return;
    }
    const struct request_answer *answer = find_answer(l, exc);
    if (answer != NULL) {
        answer_other(l, answer, exc);
        return;
    }
    log_exception(l, exc, "the application");
    answer_page(l, exc, "500 Internal Server Error",
                "The application could not answer this request.");
}

void
failure_answer(struct lease *l)
{
    CLEANUP(py_clear) PyObject *exc = py_catch();

    ASSERT_GIL();
    if (exc != NULL) {
        timeout_forbid(l); /* the answer is ours */
        answer_exception(l, exc);
        timeout_allow(l);
    }
}

void
failure_gone(struct lease *l)
{
    const char *how =
        request_is_cancelled(l->q) ? "the application answered too late: cut"
        : l->gone == -ETIMEDOUT ? "the client took nothing for --write-timeout"
                                : "the client went away";

    if (lease_enter(l, name) < 0) {
        PyErr_Clear();
        return;
    }
    bool reading = l->gone != 0 && l->gone_side == LEASE_REQUEST;
    request_log(
        l->q, LOG_LEVEL_INFO, "%s after %llu bytes of the %s's body", how,
        (unsigned long long)(reading ? l->q->body_read : l->q->response.sent),
        reading ? "request" : "response");
    response_abort(l->q);
    lease_leave(l);
}
