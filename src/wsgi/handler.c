/*
 * handler.c - runs one request through the WSGI application
 */
#include "wsgi/handler.h"

#include "app/app_cache.h"
#include "app/imports.h"
#include "context/error_stream.h"
#include "context/input_stream.h"
#include "context/interrupt.h"
#include "context/request_guard.h"
#include "context/request_timeout.h"
#include "os/log.h"
#include "python/python.h"
#include "wsgi/after_response.h"
#include "wsgi/environ.h"
#include "wsgi/failure.h"
#include "wsgi/module.h"
#include "wsgi/response_body.h"
#include "wsgi/start_response.h"

#include <stdlib.h>

/* Only its own thread uses it; Python objects attached to Python. What other
 * threads reach of it has its own protection: see guard and after. */
struct wsgi_thread {
    PyThreadState *state;
    bool is_main;
    const struct module_state *types;
    struct environ_cache environs;
    struct request_guard guard;
    struct after_response after;
    PyObject *close_name;
};

/* The Python objects of one request. */
struct call {
    PyObject *input;
    PyObject *data; /* of a Filter, otherwise NULL */
    PyObject *start_response;
    PyObject *result; /* NULL: the call raised */
};

/* -- threads --------------------------------------------------------------- */

static int
thread_init(struct wsgi_thread *t, struct wsgi_flags flags)
{
    t->types = module_get();
    t->close_name = PyUnicode_InternFromString("close");
    if (t->types == NULL || t->close_name == NULL) {
        return -1;
    }
    after_response_init(&t->after, t->types->after, &t->guard);
    return environ_init(&t->environs, &t->after, t->types, flags);
}

/* threading takes a thread that it did not start for a daemon, and the threads
 * that it starts inherit this: the application's threads would be cut off at
 * the end of the process, while with --threads 1 they are waited for. */
static void
clear_daemon_flag(void)
{
    CLEANUP(py_clear) PyObject *threading = PyImport_ImportModule("threading");
    CLEANUP(py_clear)
    PyObject *me = threading == NULL
                       ? NULL
                       : PyObject_CallMethod(threading, "current_thread", NULL);

    if (me == NULL || PyObject_SetAttrString(me, "_daemonic", Py_False) < 0) {
        PyErr_Clear(); /* out of memory will show soon enough */
    }
}

struct wsgi_thread *
wsgi_thread_new(const struct config *config, struct wsgi_flags flags,
                bool is_main)
{
    struct wsgi_thread *t = calloc(1, sizeof *t);

    (void)config; /* --set and the like are in the request's variables by now */
    if (t == NULL || request_guard_init(&t->guard) < 0) {
        free(t);
        return NULL;
    }
    t->is_main = is_main;
    t->state = is_main ? PyGILState_GetThisThreadState()
                       : PyThreadState_New(PyInterpreterState_Main());
    if (t->state == NULL) {
        request_guard_fini(&t->guard);
        free(t);
        return NULL;
    }
    PyEval_RestoreThread(t->state);
    int r = thread_init(t, flags);
    if (!is_main) {
        clear_daemon_flag();
    }
    PyErr_Clear(); /* NULL says so */
    (void)PyEval_SaveThread();
    interrupt_register(&t->guard);
    if (r < 0) {
        wsgi_thread_free(&t);
    }
    return t;
}

void
wsgi_thread_free(struct wsgi_thread **ret_t)
{
    struct wsgi_thread *t = *ret_t;

    *ret_t = NULL;
    if (t == NULL) {
        return;
    }
    assert(t->guard.q == NULL);
    interrupt_unregister(&t->guard);
    PyEval_RestoreThread(t->state);
    error_stream_end_line();
    environ_fini(&t->environs);
    after_response_fini(&t->after);
    Py_CLEAR(t->close_name);
    bool can_be_freed = request_guard_can_be_freed(&t->guard);
    if (t->is_main) {
        (void)PyEval_SaveThread();
    }
    else {
        PyThreadState_Clear(t->state);
        PyThreadState_DeleteCurrent();
    }
    if (can_be_freed) {
        request_guard_fini(&t->guard);
        free(t);
    }
}

/* -- a request ------------------------------------------------------------- */

static int
call_init(struct call *c, struct wsgi_thread *t)
{
    c->input = input_stream_new(t->types->input, &t->guard, STREAM_STDIN);
    c->start_response = start_response_new(t->types->start_response, &t->guard);
    if (t->guard.q->role == ROLE_FILTER) {
        c->data = input_stream_new(t->types->input, &t->guard, STREAM_DATA);
        if (c->data == NULL) {
            return -1;
        }
    }
    return c->input == NULL || c->start_response == NULL ? -1 : 0;
}

static void
call_fini(struct call *c)
{
    Py_CLEAR(c->result);
    Py_CLEAR(c->start_response);
    Py_CLEAR(c->data);
    Py_CLEAR(c->input);
}

static PyObject *
call_application(struct wsgi_thread *t, PyObject *app, const struct call *c)
{
    CLEANUP(py_clear)
    PyObject *environ_dict =
        environ_new(&t->environs, t->guard.q, c->input, c->data);
    PyObject *args[3] = {NULL, environ_dict, c->start_response};

    return environ_dict == NULL
               ? NULL
               : PyObject_Vectorcall(app, args + 1,
                                     2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

/* PEP 3333: calls close() of the object that the application returned, however
 * the request ended. */
static void
close_result(struct wsgi_thread *t, PyObject *result)
{
    CLEANUP(py_clear) PyObject *close = NULL;
    CLEANUP(py_clear) PyObject *closed = NULL;

    if (PyList_CheckExact(result) || PyTuple_CheckExact(result)) {
        return;
    }
    if (PyObject_GetOptionalAttr(result, t->close_name, &close) > 0) {
        closed = PyObject_CallNoArgs(close);
    }
    failure_note(&t->guard, "close() of the response");
}

/* Makes an object expire while no other thread is inside the request. If this
 * cannot enter the request, nobody else is inside either. */
static void
expire(struct wsgi_thread *t, void (*fn)(PyObject *), PyObject *object)
{
    bool is_inside = request_guard_enter(&t->guard, "the request") == 0;

    PyErr_Clear();
    fn(object);
    if (is_inside) {
        request_guard_leave(&t->guard);
    }
}

/* Handles a child that the application forked and that came back here. The
 * request is its parent's; the caller of handler_run() ends the child with this
 * exit status. */
static void
end_forked_child(struct request *q)
{
    CLEANUP(py_clear) PyObject *exc = PyErr_GetRaisedException();
    CLEANUP(py_clear) PyObject *code = NULL;

    q->exit_status = 1;
    if (exc != NULL && PyErr_GivenExceptionMatches(exc, PyExc_SystemExit)) {
        code = PyObject_GetAttrString(exc, "code");
        if (code == Py_None) {
            q->exit_status = 0;
        }
        else if (code != NULL && PyLong_Check(code)) {
            q->exit_status = (int)(PyLong_AsLong(code) & 0xff);
        }
        PyErr_Clear();
    }
    else {
        log_error("a child process that the application forked came back into "
                  "the gateway; it must end with os._exit()");
        if (exc != NULL) {
            PyErr_SetRaisedException(Py_NewRef(exc));
            PyErr_Print();
        }
    }
    error_stream_end_line();
}

static void
answer(struct wsgi_thread *t, PyObject *app, struct call *c)
{
    enum response_body_end end = RESPONSE_BODY_FAILED;

    ASSERT_ATTACHED();
    if (call_init(c, t) == 0) {
        c->result = call_application(t, app, c);
    }
    if (c->result != NULL && !t->guard.forked) {
        end = response_body_send(&t->guard, t->types, c->result);
    }
    if (t->guard.forked) {
        end_forked_child(t->guard.q);
        return;
    }
    if (end == RESPONSE_BODY_FAILED) {
        failure_answer(&t->guard);
    }
    else if (end == RESPONSE_BODY_GONE) {
        failure_gone(&t->guard);
    }
    assert(!PyErr_Occurred());
    expire(t, start_response_expire, c->start_response);
    if (c->result != NULL) {
        close_result(t, c->result);
    }
    expire(t, input_stream_expire, c->input);
    expire(t, input_stream_expire, c->data);
    call_fini(c);
}

/* Runs the application in a copy of the thread's contextvars, so that no
 * request passes them on to the next. The application is loaded outside the
 * copy, so what it sets at import stays. */
static bool
run(struct wsgi_thread *t)
{
    struct call c = {.input = NULL};
    CLEANUP(py_clear) PyObject *app = app_cache_get(t->guard.q);
    CLEANUP(py_clear)
    PyObject *context = app == NULL ? NULL : PyContext_CopyCurrent();

    if (t->guard.forked) {
        end_forked_child(t->guard.q);
        return false;
    }
    if (context == NULL || PyContext_Enter(context) < 0) {
        failure_answer(&t->guard);
        return false;
    }
    answer(t, app, &c);
    if (PyContext_Exit(context) < 0) {
        failure_note(&t->guard, "leaving the request's context");
    }
    return after_response_is_due(&t->after, context);
}

static void
enter(struct wsgi_thread *t, struct request *q)
{
    PyEval_RestoreThread(t->state);
    assert(!PyErr_Occurred());
    imports_begin();
    request_guard_start(&t->guard, q);
}

static void
leave(struct wsgi_thread *t)
{
    error_stream_end_line();
    request_guard_end(&t->guard);
    imports_end();
    assert(!PyErr_Occurred());
    (void)PyEval_SaveThread();
}

void
handler_run(struct wsgi_thread *t, struct request *q)
{
    if (q->is_unsized && request_take_body(q) < 0) {
        return;
    }
    enter(t, q);
    request_timeout_enable(&t->guard);
    q->has_after = run(t);
    request_timeout_disable(&t->guard);
    leave(t);
}

void
handler_after(struct wsgi_thread *t, struct request *q)
{
    enter(t, q);
    after_response_run(&t->after);
    if (t->guard.forked) {
        end_forked_child(q);
    }
    leave(t);
}
