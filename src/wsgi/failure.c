/*
 * failure.c - logs and answers requests that fail
 */
#include "wsgi/failure.h"

#include "app/app_cache.h"
#include "base/buf.h"
#include "context/error_stream.h"
#include "context/interrupt.h"
#include "context/request_timeout.h"
#include "debug/debug_page.h"
#include "debug/traceback.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum { PAGE_MAX = 4 << 20 };

static const char name[] = "the response";

/* -- the log --------------------------------------------------------------- */

static void
log_exception(struct request_guard *g, PyObject *exc, const char *where)
{
    CLEANUP(py_clear) PyObject *text = traceback_format(exc);
    const char *missing = text == NULL ? " (no memory for its traceback)" : "";
    const char *lines = text == NULL ? NULL : PyBytes_AS_STRING(text);
    size_t n = text == NULL ? 0 : (size_t)PyBytes_GET_SIZE(text);

    PyErr_Clear();
    error_stream_end_line();
    if (request_guard_enter(g, name) < 0) {
        PyErr_Clear();
        return;
    }
    request_log_more(g->q, LOG_LEVEL_ERROR, lines, n, "%s raised %s%s", where,
                     Py_TYPE(exc)->tp_name, missing);
    request_guard_leave(g);
}

void
failure_note(struct request_guard *g, const char *where)
{
    CLEANUP(py_clear) PyObject *exc = PyErr_GetRaisedException();

    if (exc != NULL) {
        log_exception(g, exc, where);
    }
}

/* -- the answer ------------------------------------------------------------ */

/* True if exc is what a read or write raised for -errno. */
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
find_answer(const struct request_guard *g, PyObject *exc)
{
    static const struct request_answer not_found = {
        0, "404 Not Found", "There is no such script on this server."};

    const struct request_answer *answer = request_read_answer(g->q->body_error);

    /* The client's error while it sent the body: no traceback, no 500. */
    if (answer != NULL && is_os_error(exc, answer->err)) {
        return answer;
    }
    return app_cache_is_not_found(exc) ? &not_found : NULL;
}

static void
answer_page(struct request_guard *g, PyObject *exc, const char *status,
            const char *sentence)
{
    struct request *q = g->q;
    struct buf page;

    buf_init(&page, PAGE_MAX);
    bool has_page = q->config->debug && !response_head_sent(&q->response) &&
                    debug_page(q, exc, &page) == 0;
    if (request_guard_enter(g, name) == 0) {
        if (has_page) {
            response_error_page(q, status, page.data, page.len);
        }
        else {
            response_error(q, status, sentence, request_id(q));
        }
        request_guard_leave(g);
    }
    PyErr_Clear();
    buf_fini(&page);
}

/* Also logs which script it was, and why there is no such script. */
static void
answer_other(struct request_guard *g, const struct request_answer *answer,
             PyObject *exc)
{
    CLEANUP(py_clear)
    PyObject *text = app_cache_is_not_found(exc) ? PyObject_Str(exc) : NULL;
    const char *why = text == NULL ? NULL : PyUnicode_AsUTF8(text);

    PyErr_Clear();
    if (request_guard_enter(g, name) < 0) {
        PyErr_Clear();
        return;
    }
    if (answer->err != 0) {
        request_send_answer(g->q, answer);
    }
    else {
        request_log(g->q, LOG_LEVEL_INFO, "%s",
                    why == NULL ? answer->sentence : why);
        response_error(g->q, answer->status, answer->sentence, NULL);
    }
    request_guard_leave(g);
}

/* The log has its stack already. */
static void
answer_timeout(struct request_guard *g, PyObject *exc)
{
    if (!request_timeout_matches(exc)) {
        log_exception(g, exc, "the application, when it was interrupted,");
    }
    if (request_guard_enter(g, name) == 0) {
        request_log(g->q, LOG_LEVEL_ERROR, "ended by --request-timeout");
        request_guard_leave(g);
    }
    PyErr_Clear();
    answer_page(g, exc, REQUEST_TIMEOUT_STATUS, REQUEST_TIMEOUT_SENTENCE);
}

static void
answer_exception(struct request_guard *g, PyObject *exc)
{
    if (is_os_error(exc, g->gone)) {
        failure_gone(g);
        return;
    }
    if (request_timeout_was_raised(g)) {
        answer_timeout(g, exc);
        return;
    }
    const struct request_answer *answer = find_answer(g, exc);
    if (answer != NULL) {
        answer_other(g, answer, exc);
        return;
    }
    log_exception(g, exc, "the application");
    answer_page(g, exc, "500 Internal Server Error",
                "The application could not answer this request.");
}

void
failure_answer(struct request_guard *g)
{
    CLEANUP(py_clear) PyObject *exc = PyErr_GetRaisedException();

    ASSERT_ATTACHED();
    if (exc != NULL) {
        /* the exception must not interrupt the answer */
        request_timeout_disable(g);
        answer_exception(g, exc);
        request_timeout_enable(g);
    }
}

/* What kept the request or its response from being whole. */
static const char *
reason(const struct request_guard *g, bool reading)
{
    return request_is_cancelled(g->q) ? "the application answered too late: cut"
           : g->gone == -ETIMEDOUT
               ? "the client read nothing for --write-timeout"
           : reading || response_is_peer_error(g->gone) ? "the client went away"
                                                        : strerror(-g->gone);
}

void
failure_gone(struct request_guard *g)
{
    struct request *q = g->q;

    assert(q != NULL && g->gone < 0);
    if (request_guard_enter(g, name) < 0) {
        PyErr_Clear();
        return;
    }
    bool reading = g->gone_side == GUARD_REQUEST;
    if (request_is_cancelled(q)) {
        request_note_result(q, REQUEST_FAILED);
    }
    request_log(q,
                reading || response_is_peer_error(g->gone) ? LOG_LEVEL_INFO
                                                           : LOG_LEVEL_ERROR,
                "%s after %llu bytes of the %s's body", reason(g, reading),
                (unsigned long long)(reading ? q->body_read : q->response.sent),
                reading ? "request" : "response");
    response_client_gone(q);
    request_guard_leave(g);
}
