/*
 * imports.c - collects the files of imported modules, for --reload
 */
#include "app/imports.h"

#include "os/path_absolute.h"
#include "python/python.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static bool is_on; /* written before there are threads */

/* A lock-free list: any threads push at once, with or without a GIL;
 * imports_take() takes all of it. Nobody follows a pointer into it before
 * that. */
static struct imports_file *_Atomic new_files;

/* The rest is protected by the GIL or, without one, by lock; any thread that
 * imports writes it. No Python code runs while the lock is held. */
static struct py_lock lock;
/* dict: the names of modules that have been examined; never replaced */
static PyObject *seen_modules;
static Py_ssize_t seen_size; /* the size of sys.modules at that time */
/* calls of imports_begin() without imports_end() */
static unsigned nrunning;
static int64_t since_ns; /* new modules were imported after this time */

void
imports_watch(bool on)
{
    is_on = on;
}

/* The clock of file times, which is as coarse. */
static int64_t
file_clock_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME_COARSE, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void
push(const char *path, struct file_id stamp, bool is_app)
{
    size_t n = strlen(path) + 1;
    struct imports_file *f = is_on ? malloc(sizeof *f + n) : NULL;

    if (f != NULL) {
        memcpy(f->path, path, n);
        f->stamp = stamp;
        f->is_app = is_app;
        f->next = atomic_load(&new_files);
        while (!atomic_compare_exchange_weak(&new_files, &f->next, f)) {
        }
    }
}

void
imports_add(const char *path, struct file_id stamp)
{
    push(path, stamp, false);
}

struct imports_file *
imports_take(void)
{
    return atomic_exchange(&new_files, NULL);
}

struct imports_file *
imports_free(struct imports_file *first)
{
    struct imports_file *next = first->next;

    free(first);
    return next;
}

/* -- what is new in sys.modules -------------------------------------------- */

/* True if the file may have changed after it was imported. Times in the future
 * come from another clock; they would be "changed" for ever. */
static bool
is_changed_meanwhile(const struct stat *st)
{
    int64_t changed =
        (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;

    py_lock(&lock);
    int64_t since = since_ns;
    py_unlock(&lock);
    return changed > since && changed <= file_clock_ns();
}

/* Adds a file, or the zip archive that contains it. */
static void
add_file(const char *file, bool is_app)
{
    static const struct file_id none;
    char path[PATH_MAX];
    struct stat st;
    char *slash;

    if (path_absolute_trimmed(file, path, sizeof path) < 0) {
        return;
    }
    while (stat(path, &st) < 0) {
        slash = strrchr(path, '/');
        if (slash == NULL || slash == path) {
            return;
        }
        *slash = '\0';
    }
    if (S_ISREG(st.st_mode)) {
        push(path, is_changed_meanwhile(&st) ? none : file_id_of(&st), is_app);
    }
    else if (path_absolute_trimmed(file, path, sizeof path) == 0) {
        push(path, none, is_app); /* deleted; it counts when it is back */
    }
}

static bool
add_if_name(PyObject *name, bool is_app)
{
    const char *text =
        name != NULL && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;

    if (text != NULL) {
        add_file(text, is_app);
    }
    PyErr_Clear();
    return text != NULL;
}

/* The attribute that the object itself has: the __getattr__ of a lazy module
 * would import it. */
static PyObject *
plain_attribute(PyObject *o, const char *name)
{
    CLEANUP(py_clear) PyObject *key = PyUnicode_FromString(name);
    PyObject *value = key == NULL ? NULL : PyObject_GenericGetAttr(o, key);

    PyErr_Clear();
    return value;
}

static void
add_module(PyObject *m, bool is_app)
{
    CLEANUP(py_clear) PyObject *file = plain_attribute(m, "__file__");

    if (add_if_name(file, is_app)) {
        return;
    }
    CLEANUP(py_clear) PyObject *spec = plain_attribute(m, "__spec__");
    CLEANUP(py_clear)
    PyObject *located =
        spec == NULL ? NULL : PyObject_GetAttrString(spec, "has_location");
    CLEANUP(py_clear) PyObject *origin = NULL;
    if (located == Py_True) { /* otherwise "built-in" or "frozen" */
        origin = PyObject_GetAttrString(spec, "origin");
    }
    PyErr_Clear();
    (void)add_if_name(origin, is_app);
}

void
imports_add_app(void *module)
{
    if (is_on) {
        add_module(module, true);
    }
}

/* Borrowed; NULL without memory. */
static PyObject *
get_seen(void)
{
    CLEANUP(py_clear) PyObject *new = PyDict_New();

    PyErr_Clear();
    py_lock(&lock);
    if (seen_modules == NULL) {
        seen_modules = py_steal(&new);
    }
    PyObject *seen = seen_modules;
    py_unlock(&lock);
    return seen;
}

/* Two threads that end at the same time may both add a module; its file is
 * watched once. */
static void
add_new_modules(void)
{
    /* A copy, because another thread may import meanwhile. */
    CLEANUP(py_clear) PyObject *all = PyDict_Copy(PyImport_GetModuleDict());
    PyObject *name = NULL, *m = NULL;
    PyObject *seen = get_seen();

    for (Py_ssize_t at = 0;
         all != NULL && seen != NULL && PyDict_Next(all, &at, &name, &m);) {
        if (PyDict_Contains(seen, name) == 0 &&
            PyDict_SetItem(seen, name, Py_None) == 0 && m != Py_None) {
            add_module(m, false);
        }
        PyErr_Clear();
    }
    PyErr_Clear();
    py_lock(&lock);
    seen_size = all == NULL ? 0 : PyDict_Size(all);
    py_unlock(&lock);
}

void
imports_begin(void)
{
    if (!is_on) {
        return;
    }
    py_lock(&lock);
    if (nrunning++ == 0) {
        since_ns = file_clock_ns();
    }
    py_unlock(&lock);
}

/* One that imports has ended. Gets the time before anything is examined: what
 * another thread imports meanwhile may be examined later. */
static bool
end_one(int64_t *ret_now)
{
    Py_ssize_t size = PyDict_Size(PyImport_GetModuleDict());

    py_lock(&lock);
    assert(nrunning > 0);
    nrunning--;
    bool is_new = size != seen_size;
    *ret_now = file_clock_ns();
    py_unlock(&lock);
    return is_new;
}

void
imports_end(void)
{
    int64_t now;

    if (!is_on) {
        return;
    }
    ASSERT_ATTACHED();
    /* If one module goes and another comes in the same request, the new one is
     * found after a later request. */
    if (end_one(&now)) {
        PyObject *exc = PyErr_GetRaisedException();
        add_new_modules();
        if (exc != NULL) {
            PyErr_SetRaisedException(exc);
        }
    }
    py_lock(&lock);
    since_ns = now;
    py_unlock(&lock);
}
