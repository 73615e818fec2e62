/*
 * app_cache.c - the applications of this process, and the state of each
 */
#include "app/app_cache.h"

#include "app/failed_imports.h"
#include "app/imports.h"
#include "app/scripts.h"
#include "base/clock.h"
#include "base/hash.h"
#include "context/request_timeout.h"
#include "debug/import_hint.h"
#include "debug/slow_load.h"
#include "debug/traceback.h"

#include <errno.h>
#include <limits.h>
#include <pythread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    BUCKETS = 64,
    /* Nearly all objects that an import creates stay, so collections find
     * nothing and cost 5 to 10 % of a start. Django creates 70,000 objects; an
     * application that creates more than this may create garbage, too. */
    GC_THRESHOLD_LOADING = 150000,
    /* Before a failed load is tried again without a change of any file: the
     * cause may have been a database that was not up yet. */
    RETRY_MS = 10000,
    /* The same if no file is known, as for a module that was not found. */
    RETRY_UNKNOWN_MS = 1000,
    TEXT_MAX = 64 * 1024,
    /* between two checks whether the request is cancelled */
    LOCK_WAIT_US = 200 * 1000,
};

enum app_state { APP_ABSENT, APP_READY, APP_FAILED };

/* The thread that holds load_lock writes all fields from loader on. Any thread
 * reads state, callable and stamp: these are written and read under the GIL or,
 * without one, under ready_lock; the thread that holds load_lock reads them
 * without it. The rest is read by the thread that holds load_lock. */
struct app {
    /* Written before others can find the application: */
    struct app *next;            /* next in its bucket */
    struct app_spec own_spec;    /* of a script */
    const struct app_spec *spec; /* own_spec, or the loader's */
    PyThread_type_lock load_lock;
    atomic_ulong loader; /* the thread that holds it, 0 = none */
    struct py_lock ready_lock;
    enum app_state state;
    PyObject *callable;   /* READY; of the one APP it never changes then */
    struct file_id stamp; /* READY: the script when it was loaded */
    PyObject *text;       /* FAILED: what happened */
    PyObject *traceback;  /* FAILED, without --debug: its traceback, a string */
    PyObject *exc;        /* FAILED, --debug: the exception itself */
    struct failed_imports failed; /* FAILED */
    int64_t failed_at_ms;         /* FAILED */
    int64_t retry_at_ms;          /* FAILED */
};

/* app_cache_init() writes these, before there are threads. */
static const struct config *config;
static const char *scripts_dir;
static struct app *only_app;
static PyObject *load_error_type; /* exception types */
static PyObject *not_found_type;

/* Set once, by the thread that has loaded the one APP; read by any, also
 * without the GIL. */
static atomic_bool only_is_ready;

/* Lists that are only ever added to, at the front; read without a lock. Written
 * under the GIL or, without one, under buckets_lock. */
static _Atomic(struct app *) buckets[BUCKETS];
static struct py_lock buckets_lock;

/* Written by any thread that loads: protected by the GIL or, without one, by
 * gc_lock. */
static int loads_running;
static long gc_threshold; /* to be restored, 0 = not raised */
static struct py_lock gc_lock;

/* -- garbage collection while importing ------------------------------------ */

static long
get_gc_threshold(PyObject *gc)
{
    CLEANUP(py_clear)
    PyObject *all = PyObject_CallMethod(gc, "get_threshold", NULL);
    if (all == NULL || !PyTuple_Check(all) || PyTuple_GET_SIZE(all) < 1) {
        return -1;
    }
    return PyLong_AsLong(PyTuple_GET_ITEM(all, 0));
}

static void
set_gc_threshold(PyObject *gc, long value)
{
    CLEANUP(py_clear)
    PyObject *r = PyObject_CallMethod(gc, "set_threshold", "l", value);
    (void)r;
}

/* Raises the threshold while an application is imported. gc.disable() would not
 * do, because the application may call it itself and mean it. No lock is held
 * over Python code: while this load counts as running, no other restores the
 * threshold; but one that ends as this begins may restore it too late. */
static void
gc_begin_load(void)
{
    py_lock(&gc_lock);
    bool is_first = loads_running++ == 0;
    py_unlock(&gc_lock);
    if (!is_first) {
        return;
    }
    CLEANUP(py_clear) PyObject *gc = PyImport_ImportModule("gc");
    long now = gc == NULL ? -1 : get_gc_threshold(gc);
    if (now > 0 && now < GC_THRESHOLD_LOADING) {
        py_lock(&gc_lock);
        gc_threshold = now;
        py_unlock(&gc_lock);
        set_gc_threshold(gc, GC_THRESHOLD_LOADING);
    }
    PyErr_Clear();
}

/* The threshold to restore if this was the last load, else 0. */
static long
take_threshold(void)
{
    long value = 0;

    py_lock(&gc_lock);
    if (--loads_running == 0) {
        value = gc_threshold;
        gc_threshold = 0;
    }
    py_unlock(&gc_lock);
    return value;
}

/* Moves all new objects to the oldest generation. Otherwise the first request
 * that creates an object would start a collection of all of them. Does nothing
 * if the application has frozen objects, which must stay frozen. A free-threaded
 * Python has no generations: this would stop all threads twice for nothing, and
 * thaw what another thread freezes meanwhile. */
static void
gc_move_to_old(PyObject *gc)
{
#ifdef Py_GIL_DISABLED
    (void)gc;
#else
    CLEANUP(py_clear)
    PyObject *frozen = PyObject_CallMethod(gc, "get_freeze_count", NULL);
    if (frozen == NULL || PyObject_IsTrue(frozen) != 0) {
        return;
    }
    CLEANUP(py_clear) PyObject *r = PyObject_CallMethod(gc, "freeze", NULL);
    CLEANUP(py_clear) PyObject *u = PyObject_CallMethod(gc, "unfreeze", NULL);
    (void)r;
    (void)u;
#endif
}

static void
gc_end_load(void)
{
    long old = take_threshold();

    if (old == 0) {
        return;
    }
    CLEANUP(py_clear) PyObject *gc = PyImport_ImportModule("gc");
    if (gc != NULL) {
        gc_move_to_old(
            gc); /* before the first object beyond the old threshold */
    }
    /* Unless the application has set a threshold of its own. */
    if (gc != NULL && get_gc_threshold(gc) == GC_THRESHOLD_LOADING) {
        set_gc_threshold(gc, old);
    }
    PyErr_Clear();
}

/* -- failures -------------------------------------------------------------- */

/* What it looks like where the file does not define an application but runs a
 * program, as app.run() does: that ends with an exit code, or with a port that
 * another worker has. A text says by itself why the program ends. */
static bool
ran_program(PyObject *exc)
{
    CLEANUP(py_clear) PyObject *why = NULL;
    bool is = false;

    if (PyErr_GivenExceptionMatches(exc, PyExc_SystemExit)) {
        why = py_attr(exc, "code");
        is = why == Py_None || (why != NULL && PyLong_Check(why));
    }
    else if (PyErr_GivenExceptionMatches(exc, PyExc_OSError)) {
        why = py_attr(exc, "errno");
        is = why != NULL && PyLong_Check(why) &&
             PyLong_AsLong(why) == EADDRINUSE;
    }
    PyErr_Clear();
    return is;
}

/* Such as "app.py could not be loaded: ImportError: no module ...". NULL: no
 * memory, with an exception. */
static PyObject *
summary_of(const struct app *a, PyObject *exc)
{
    assert(exc != NULL && !PyErr_Occurred());
    const char *what = PyErr_GivenExceptionMatches(exc, PyExc_SystemExit)
                           ? "exited while it was loaded"
                           : "could not be loaded";
    CLEANUP(py_clear) PyObject *text = PyObject_Str(exc);
    if (text == NULL) {
        PyErr_Clear();
    }
    CLEANUP(py_clear)
    PyObject *hint = ran_program(exc) ? PyUnicode_FromString(SLOW_LOAD_RULE)
                                      : import_hint(exc, a->spec->file,
                                                    a->spec->module, config);
    PyErr_Clear();
    bool has_text = text != NULL && PyUnicode_GetLength(text) > 0;
    return PyUnicode_FromFormat("%s %s: %s%s%V%s%V", a->spec->display_name,
                                what, Py_TYPE(exc)->tp_name,
                                has_text ? ": " : "", has_text ? text : NULL,
                                "", hint != NULL ? "; " : "", hint, "");
}

/* The traceback without its last newline, for the requests that come later. */
static PyObject *
traceback_text(PyObject *exc)
{
    CLEANUP(py_clear) PyObject *bytes = traceback_format(exc);
    Py_ssize_t n = bytes == NULL ? 0 : PyBytes_GET_SIZE(bytes);
    PyObject *text = NULL;

    if (n > 0) {
        /* The cut may go through a character. */
        text = PyUnicode_DecodeUTF8(PyBytes_AS_STRING(bytes),
                                    n > TEXT_MAX ? TEXT_MAX : n - 1, "ignore");
    }
    PyErr_Clear();
    return text;
}

/* Writes what any thread may read. Steals the reference to callable. */
static void
set_ready(struct app *a, enum app_state state, PyObject *callable,
          struct file_id stamp)
{
    py_lock(&a->ready_lock);
    PyObject *old = a->callable;
    a->callable = callable;
    a->stamp = stamp;
    a->state = state;
    py_unlock(&a->ready_lock);
    Py_XDECREF(old); /* may run the application's code */
}

/* Called by the thread that holds load_lock. */
static void
set_failed(struct app *a, PyObject *exc, PyObject *summary,
           struct file_id stamp)
{
    Py_XSETREF(a->text, Py_XNewRef(summary));
    if (config->debug) {
        /* Its frames keep all their variables alive, so not in production. */
        Py_XSETREF(a->exc, Py_NewRef(exc));
    }
    else {
        Py_XSETREF(a->traceback, traceback_text(exc));
    }
    PyErr_Clear();

    failed_imports_clear(&a->failed);
    if (a->spec->file != NULL) {
        failed_imports_add(&a->failed, a->spec->file, stamp);
    }
    else {
        failed_imports_add_module(&a->failed, a->spec->module);
    }
    failed_imports_add_exception(&a->failed, exc);
    for (size_t i = 0; i < a->failed.n; i++) {
        imports_add(a->failed.v[i].path, a->failed.v[i].stamp);
    }
    a->failed_at_ms = clock_ms();
    a->retry_at_ms =
        a->failed_at_ms + (a->failed.n > 0 ? RETRY_MS : RETRY_UNKNOWN_MS);
    set_ready(a, APP_FAILED, NULL, stamp);
}

/* raise LoadError(text) from cause. Steals the reference to cause, which may be
 * NULL. */
static void
raise_from(PyObject *text, PyObject *cause)
{
    CLEANUP(py_clear)
    PyObject *error =
        PyObject_CallOneArg(load_error_type, text != NULL ? text : Py_None);
    if (error == NULL) {
        Py_XDECREF(cause);
        return;
    }
    if (cause != NULL) {
        PyException_SetCause(error, cause);
    }
    PyErr_SetObject(load_error_type, error);
}

/* For a request that comes before the load is tried again: why it fails, and
 * when the next load comes. Returns NULL. */
static PyObject *
raise_again(const struct app *a)
{
    int64_t now = clock_ms();
    long ago = (long)((now - a->failed_at_ms) / 1000);
    long left = (long)((a->retry_at_ms - now + 999) / 1000);
    CLEANUP(py_clear)
    PyObject *text = PyUnicode_FromFormat(
        "%V\n(The load failed %ld s ago; it is tried again at the first "
        "request "
        "%safter %ld s.)%s%V",
        a->text, "out of memory", ago,
        a->failed.n > 0 ? "after one of its files has changed, or " : "", left,
        a->traceback != NULL ? "\n" : "", a->traceback, "");

    PyErr_Clear();
    raise_from(text, Py_XNewRef(a->exc));
    return NULL;
}

/* Records that loading has failed with exc, of any kind, and raises LoadError.
 * Steals the reference to exc. Returns NULL. */
static PyObject *
fail_load(struct app *a, PyObject *exc, struct file_id stamp)
{
    CLEANUP(py_clear) PyObject *summary = summary_of(a, exc);
    PyErr_Clear();
    set_failed(a, exc, summary, stamp);
    raise_from(summary, exc);
    return NULL;
}

/* -- loading --------------------------------------------------------------- */

/* Without this, Python notices new files in a folder that it has searched only
 * when the folder's time has changed. */
static void
clear_importer_cache(void)
{
    CLEANUP(py_clear) PyObject *cache = py_sys_attr("path_importer_cache");
    if (cache != NULL && PyDict_Check(cache)) {
        PyDict_Clear(cache);
    }
}

static bool
is_in_cgi(void)
{
    const struct request_guard *g = request_guard_current();

    return g != NULL && g->q->is_cgi;
}

/* The other modes have a thread of their own that looks at the time. */
static void
watch_begin(const struct app *a)
{
    if (is_in_cgi()) {
        slow_load_begin(a->spec->display_name);
    }
}

static void
watch_end(void)
{
    if (is_in_cgi()) {
        slow_load_end();
    }
}

static PyObject *
load(struct app *a, struct file_id stamp)
{
    if (a->state == APP_FAILED) {
        failed_imports_unload_changed(&a->failed);
        clear_importer_cache();
    }
    gc_begin_load();
    watch_begin(a);
    PyObject *callable = app_spec_load(a->spec);
    PyObject *exc = callable == NULL ? PyErr_GetRaisedException() : NULL;
    watch_end();
    gc_end_load();
    if (exc != NULL && request_timeout_matches(exc)) {
        PyErr_SetRaisedException(exc); /* not the application's failure */
        return NULL;
    }
    if (callable == NULL) {
        return exc == NULL ? NULL : fail_load(a, exc, stamp);
    }
    assert(a->loader == PyThread_get_thread_ident());
    set_ready(a, APP_READY, Py_NewRef(callable), stamp);
    if (a == only_app) {
        atomic_store(&only_is_ready, true);
    }
    failed_imports_clear(&a->failed);
    Py_CLEAR(a->text);
    Py_CLEAR(a->traceback);
    Py_CLEAR(a->exc);
    return callable;
}

/* The callable if it is loaded and current; else NULL, without an exception.
 * One script of several is loaded again when it changes, as people expect from
 * CGI; the one APP only by a reload. New reference. */
static PyObject *
current_callable(struct app *a, const struct file_id *stamp)
{
    PyObject *callable = NULL;

    if (a == only_app) { /* once it is ready nothing changes any more */
        return atomic_load_explicit(&only_is_ready, memory_order_acquire)
                   ? Py_NewRef(a->callable)
                   : NULL;
    }
    py_lock(&a->ready_lock);
    if (a->state == APP_READY && file_id_equal(&a->stamp, stamp)) {
        callable = Py_NewRef(a->callable);
    }
    py_unlock(&a->ready_lock);
    return callable;
}

static PyObject *
load_or_fail(struct app *a, struct file_id stamp)
{
    /* Another thread may have loaded it while this one waited. */
    PyObject *callable = current_callable(a, &stamp);

    if (callable != NULL) {
        return callable;
    }
    if (a->state == APP_FAILED && clock_ms() < a->retry_at_ms &&
        !failed_imports_changed(&a->failed)) {
        return raise_again(a);
    }
    return load(a, stamp);
}

/* Waits without the GIL, which the loading thread needs. False with
 * RequestTimeout. */
static bool
wait_for_lock(struct app *a)
{
    struct request_guard *g = request_guard_current();
    bool watched = g != NULL && g->q->cancel != NULL;

    for (;;) {
        PyLockStatus s;
        Py_BEGIN_ALLOW_THREADS s = PyThread_acquire_lock_timed(
            a->load_lock, watched ? LOCK_WAIT_US : -1, 0);
        Py_END_ALLOW_THREADS if (s == PY_LOCK_ACQUIRED)
        {
            return true;
        }
        if (watched && request_is_cancelled(g->q)) {
            (void)request_timeout_raise(g);
            return false;
        }
    }
}

static PyObject *
get_callable(struct app *a, struct file_id stamp)
{
    PyObject *callable = current_callable(a, &stamp);

    if (callable != NULL) {
        return callable;
    }
    unsigned long me = PyThread_get_thread_ident();
    if (atomic_load(&a->loader) == me) {
        return PyErr_Format(load_error_type,
                            "%s was requested by the code that loads it",
                            a->spec->display_name);
    }
    if (!PyThread_acquire_lock(a->load_lock, NOWAIT_LOCK) &&
        !wait_for_lock(a)) {
        return NULL;
    }
    assert(atomic_load(&a->loader) == 0);
    atomic_store(&a->loader, me);
    callable = load_or_fail(a, stamp);
    assert((callable == NULL) == (PyErr_Occurred() != NULL));
    atomic_store(&a->loader, 0);
    PyThread_release_lock(a->load_lock);
    return callable;
}

/* -- finding --------------------------------------------------------------- */

static struct app *
new_app(void)
{
    struct app *a = calloc(1, sizeof(*a));
    if (a != NULL) {
        failed_imports_init(&a->failed);
        a->load_lock = PyThread_allocate_lock();
    }
    if (a == NULL || a->load_lock == NULL) {
        free(a);
        PyErr_NoMemory();
        return NULL;
    }
    return a;
}

static void
free_app(struct app *a)
{
    PyThread_free_lock(a->load_lock);
    app_spec_fini(&a->own_spec);
    free(a);
}

static struct app *
new_script(const char *path)
{
    struct app *a = new_app();

    if (a == NULL) {
        return NULL;
    }
    if (app_spec_init_file(&a->own_spec, path, config->callable) < 0) {
        free_app(a);
        PyErr_NoMemory();
        return NULL;
    }
    a->spec = &a->own_spec;
    return a;
}

static struct app *
find_in(struct app *first, const char *path)
{
    struct app *a = first;

    while (a != NULL && strcmp(a->spec->file, path) != 0) {
        a = a->next;
    }
    return a;
}

/* The application of a script; creates it if it is new. NULL with an
 * exception. */
static struct app *
app_of_script(const char *path)
{
    _Atomic(struct app *) *bucket =
        &buckets[hash_bytes(path, strlen(path)) % BUCKETS];
    struct app *a =
        find_in(atomic_load_explicit(bucket, memory_order_acquire), path);

    if (a != NULL) {
        return a;
    }
    struct app *new = new_script(path);
    if (new == NULL) {
        return NULL;
    }
    py_lock(&buckets_lock);
    struct app *first = atomic_load(bucket);
    a = find_in(first, path); /* another thread may have been faster */
    if (a == NULL) {
        new->next = first;
        atomic_store(bucket, new);
    }
    py_unlock(&buckets_lock);
    if (a != NULL) {
        free_app(new);
        return a;
    }
    return new;
}

static PyObject *
raise_not_found(const struct request *q, int err)
{
    const struct param *e = params_get(&q->params, "SCRIPT_FILENAME");
    if (e == NULL) {
        return PyErr_Format(
            not_found_type,
            "no script below %s: the web server sent no SCRIPT_FILENAME "
            "(nginx: fastcgi_param SCRIPT_FILENAME "
            "$document_root$fastcgi_script_name)",
            scripts_dir);
    }
    CLEANUP(py_clear)
    PyObject *name = PyUnicode_DecodeUTF8(e->value, (Py_ssize_t)e->value_len,
                                          "backslashreplace");
    return name == NULL
               ? NULL
               : PyErr_Format(not_found_type,
                              "no script below %s (SCRIPT_FILENAME is %R%s)",
                              scripts_dir, name,
                              err == -EACCES
                                  ? ", a file that is not named .py, .wsgi, "
                                    ".cgi or .fcgi, nor executable"
                                  : "");
}

static PyObject *
get_script(struct request *q)
{
    char dir[PATH_MAX];
    struct found_script s = {.path = NULL};

    /* Resolve it each time: a deployment may change where a link leads. */
    int r =
        realpath(scripts_dir, dir) == NULL ? -ENOENT : scripts_find(q, dir, &s);
    if (r == -ENOMEM) {
        return PyErr_NoMemory();
    }
    if (r < 0) {
        return raise_not_found(q, r);
    }
    struct app *a = app_of_script(s.path);
    found_script_fini(&s);
    return a == NULL ? NULL : get_callable(a, file_id_of(&s.st));
}

PyObject *
app_cache_get_only(void)
{
    ASSERT_ATTACHED();
    assert(only_app != NULL);
    struct file_id stamp = {0, 0, 0, 0};
    if (!atomic_load(&only_is_ready) && only_app->spec->file != NULL) {
        stamp = file_id_of_path(only_app->spec->file);
    }
    return get_callable(only_app, stamp);
}

PyObject *
app_cache_get(struct request *q)
{
    ASSERT_ATTACHED();
    return only_app != NULL ? app_cache_get_only() : get_script(q);
}

bool
app_cache_only_is_ready(void)
{
    return atomic_load(&only_is_ready);
}

bool
app_cache_is_not_found(PyObject *exc)
{
    return PyErr_GivenExceptionMatches(exc, not_found_type) != 0;
}

int
app_cache_init(const struct config *from, const struct app_spec *spec,
               const char *scripts_in)
{
    ASSERT_ATTACHED();
    assert(config == NULL && (spec == NULL) != (scripts_in == NULL));
    config = from;
    scripts_dir = scripts_in;
    load_error_type =
        PyErr_NewException("_wsgi_cgi.LoadError", PyExc_RuntimeError, NULL);
    not_found_type =
        PyErr_NewException("_wsgi_cgi.ScriptNotFound", PyExc_LookupError, NULL);
    if (load_error_type == NULL || not_found_type == NULL) {
        return -1;
    }
    if (spec != NULL) {
        only_app = new_app();
        if (only_app == NULL) {
            return -1;
        }
        only_app->spec = spec;
    }
    return 0;
}
