/*
 * response_body.c - sends what the application returned to the client
 */
#include "wsgi/response_body.h"

#include "app/callable.h"
#include "context/error_stream.h"
#include "context/request_timeout.h"
#include "gateway/x_sendfile.h"
#include "wsgi/file_wrapper.h"

#include <errno.h>
#include <stdbool.h>

/* An array for more blocks than this is allocated on the heap. */
enum { FEW_BLOCKS = 16 };

enum step {
    STEP_FAILED = -1, /* a Python exception is set */
    STEP_CONTINUE,
    STEP_FULL, /* nothing more may be sent */
    STEP_GONE, /* the client has gone */
};

static void
log_short(struct request *q)
{
    const struct response *r = &q->response;

    if (r->has_length) {
        request_log(q, LOG_LEVEL_ERROR,
                    "the response's body ended after %llu of the %llu bytes "
                    "that Content-Length promised",
                    (unsigned long long)r->sent,
                    (unsigned long long)r->content_length);
    }
    else {
        request_log(q, LOG_LEVEL_ERROR,
                    "the file became shorter while it was sent, and was cut "
                    "after %llu bytes",
                    (unsigned long long)r->sent);
    }
}

/* What the result of a response_*() function means for the body. */
static enum step
step_after(struct request_guard *g, int e)
{
    if (e == RESPONSE_FULL) {
        return STEP_FULL;
    }
    if (e >= 0) {
        return STEP_CONTINUE;
    }
    if (e == -ENOMEM) {
        PyErr_NoMemory();
        return STEP_FAILED;
    }
    if (e == -ECANCELED) {
        (void)request_timeout_raise(g);
        return STEP_FAILED;
    }
    if (e == -EMSGSIZE) { /* the response has been aborted */
        log_short(g->q);
        return STEP_FULL;
    }
    request_guard_set_gone(g, e, GUARD_RESPONSE);
    return STEP_GONE;
}

/* True if the client has the whole body. Then it may go away before we end the
 * response, as lighttpd does. */
static bool
is_whole(const struct response *r)
{
    return r->has_length && r->sent > 0 && r->sent == r->content_length;
}

static const char name[] = "the response";

/* Enters the guard. Only there another thread is not in the middle of
 * start_response(). 0, or -1 with an exception. */
static int
enter_started(struct request_guard *g)
{
    if (request_guard_enter(g, name) < 0) {
        return -1;
    }
    if (g->q->response.state != RESPONSE_NONE) {
        return 0;
    }
    request_guard_leave(g);
    PyErr_SetString(PyExc_AssertionError,
                    "start_response() was not called before the body, or its "
                    "last call failed");
    return -1;
}

/* -- block by block -------------------------------------------------------- */

static enum step
send_block(struct request_guard *g, PyObject *block)
{
    if (!PyBytes_Check(block)) {
        PyErr_Format(PyExc_TypeError,
                     "the body must consist of bytes, not %.200s",
                     Py_TYPE(block)->tp_name);
        return STEP_FAILED;
    }
    if (enter_started(g) < 0) {
        return STEP_FAILED;
    }
    enum step step =
        step_after(g, response_write(g->q, PyBytes_AS_STRING(block),
                                     (size_t)PyBytes_GET_SIZE(block)));
    request_guard_leave(g);
    return step;
}

/* Before the next block. */
static enum step
check_client(struct request_guard *g)
{
    if (request_guard_enter(g, name) < 0) {
        return STEP_FAILED;
    }
    /* write() may have reached Content-Length before or between blocks. */
    if (is_whole(&g->q->response)) {
        request_guard_leave(g);
        return STEP_FULL;
    }
    bool is_gone = request_peer_gone(g->q);
    if (is_gone) {
        request_guard_set_gone(g, -EPIPE, GUARD_RESPONSE);
    }
    request_guard_leave(g);
    return is_gone ? STEP_GONE : STEP_CONTINUE;
}

static PyObject *
get_iterator(PyObject *result)
{
    /* Iterating it would give numbers or characters, and an error that explains
     * nothing. */
    if (PyBytes_Check(result) || PyUnicode_Check(result)) {
        PyErr_Format(PyExc_TypeError,
                     "the application returned %.200s; it must return an "
                     "iterable of bytes, such as a list with one bytes object",
                     Py_TYPE(result)->tp_name);
        return NULL;
    }
    PyObject *it = PyObject_GetIter(result);
    if (it == NULL && PyErr_ExceptionMatches(PyExc_TypeError) &&
        Py_TYPE(result)->tp_iter == NULL) {
        callable_refuse_result(result);
    }
    return it;
}

static enum step
send_iterable(struct request_guard *g, PyObject *result)
{
    CLEANUP(py_clear) PyObject *it = get_iterator(result);
    enum step step = it == NULL ? STEP_FAILED : STEP_CONTINUE;

    while (step == STEP_CONTINUE) {
        step = check_client(g);
        if (step != STEP_CONTINUE) {
            break;
        }
        CLEANUP(py_clear) PyObject *block = PyIter_Next(it);
        if (block == NULL) {
            return PyErr_Occurred() ? STEP_FAILED : STEP_CONTINUE;
        }
        step = send_block(g, block);
    }
    return step;
}

/* -- whole ----------------------------------------------------------------- */

static bool
is_all_bytes(PyObject *tuple)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
        if (!PyBytes_Check(PyTuple_GET_ITEM(tuple, i))) {
            return false;
        }
    }
    return true;
}

/* The caller's tuple keeps the blocks alive while the GIL is released. */
static enum step
send_blocks(struct request_guard *g, PyObject *tuple, struct iovec *blocks)
{
    size_t n = (size_t)PyTuple_GET_SIZE(tuple);

    for (size_t i = 0; i < n; i++) {
        PyObject *block = PyTuple_GET_ITEM(tuple, (Py_ssize_t)i);
        blocks[i].iov_base = PyBytes_AS_STRING(block);
        blocks[i].iov_len = (size_t)PyBytes_GET_SIZE(block);
    }
    /* FCGI_STDERR cannot follow the end of the response */
    error_stream_end_line();
    if (enter_started(g) < 0) {
        return STEP_FAILED;
    }
    bool was_whole = is_whole(&g->q->response);
    int e = response_write_all(g->q, blocks, n);
    enum step step = e < 0 && was_whole ? STEP_CONTINUE : step_after(g, e);
    request_guard_leave(g);
    return step;
}

static enum step
send_sequence(struct request_guard *g, PyObject *result)
{
    CLEANUP(py_clear)
    PyObject *tuple =
        PyTuple_CheckExact(result) ? Py_NewRef(result) : PyList_AsTuple(result);
    struct iovec few[FEW_BLOCKS];

    if (tuple == NULL) {
        return STEP_FAILED;
    }
    if (!is_all_bytes(tuple)) {
        /* blocks before the wrong one are sent */
        return send_iterable(g, tuple);
    }
    size_t n = (size_t)PyTuple_GET_SIZE(tuple);
    if (n <= FEW_BLOCKS) {
        return send_blocks(g, tuple, few);
    }
    struct iovec *blocks = PyMem_New(struct iovec, n);
    if (blocks == NULL) {
        PyErr_NoMemory();
        return STEP_FAILED;
    }
    enum step step = send_blocks(g, tuple, blocks);
    PyMem_Free(blocks);
    return step;
}

/* -- files ----------------------------------------------------------------- */

static enum step
send_file(struct request_guard *g, PyObject *result,
          const struct file_span *span)
{
    uint64_t sent;

    if (enter_started(g) < 0) {
        return STEP_FAILED;
    }
    if (g->q->config->x_sendfile != NULL && span->offset == 0) {
        int r = x_sendfile_answer(g->q, span->fd, span->count);
        if (r != 0) {
            enum step step = r > 0 ? STEP_FULL : step_after(g, r);
            request_guard_leave(g);
            return step;
        }
    }
    int e =
        response_send_file(g->q, span->fd, span->offset, span->count, &sent);
    enum step step = e == -EINVAL ? STEP_CONTINUE : step_after(g, e);
    request_guard_leave(g);
    return e == -EINVAL ? send_iterable(g, result) : step;
}

/* -- all ------------------------------------------------------------------- */

static enum step
finish(struct request_guard *g)
{
    error_stream_end_line();
    if (enter_started(g) < 0) {
        return STEP_FAILED;
    }
    const struct response *r = &g->q->response;
    bool was_whole = is_whole(r);
    int e = 0;
    if (r->state == RESPONSE_SET || r->state == RESPONSE_SENT) {
        e = response_finish(g->q);
    }
    enum step step = e < 0 && was_whole ? STEP_CONTINUE : step_after(g, e);
    request_guard_leave(g);
    return step;
}

enum response_body_end
response_body_send(struct request_guard *g, const struct module_state *types,
                   PyObject *result)
{
    struct file_span span;
    enum step step;

    ASSERT_ATTACHED();
    assert(result != NULL && !PyErr_Occurred());

    if (PyList_CheckExact(result) || PyTuple_CheckExact(result)) {
        step = send_sequence(g, result);
    }
    else if (file_wrapper_span(types->file_wrapper, result, &span)) {
        step = send_file(g, result, &span);
    }
    else {
        step = send_iterable(g, result);
    }
    if (step == STEP_CONTINUE || step == STEP_FULL) {
        step = finish(g);
    }
    assert((step == STEP_FAILED) == (PyErr_Occurred() != NULL));
    return step == STEP_FAILED ? RESPONSE_BODY_FAILED
           : step == STEP_GONE ? RESPONSE_BODY_GONE
                               : RESPONSE_BODY_DONE;
}
