/*
 * failed_imports.c - the files of a failed load, and whether they have changed
 */
#include "app/failed_imports.h"

#include <frameobject.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHAIN_MAX = 16, FRAMES_MAX = 1000 };

void
failed_imports_init(struct failed_imports *f)
{
    f->n = 0;
}

void
failed_imports_clear(struct failed_imports *f)
{
    while (f->n > 0) {
        free(f->v[--f->n].path);
    }
}

void
failed_imports_add(struct failed_imports *f, const char *path,
                   struct file_id stamp)
{
    for (size_t i = 0; i < f->n; i++) {
        if (strcmp(f->v[i].path, path) == 0) {
            return;
        }
    }
    char *copy = f->n < FAILED_IMPORTS_MAX ? strdup(path) : NULL;
    if (copy != NULL) {
        assert(f->n < FAILED_IMPORTS_MAX);
        f->v[f->n].path = copy;
        f->v[f->n++].stamp = stamp;
    }
}

/* Adds a file name of Python's. Names such as "<frozen importlib>" are no
 * files. */
static void
add_name(struct failed_imports *f, PyObject *name)
{
    const char *path =
        name != NULL && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    if (path == NULL) {
        PyErr_Clear();
        return;
    }
    struct file_id stamp = file_id_of_path(path);
    if (path[0] == '/' && file_id_exists(&stamp)) {
        failed_imports_add(f, path, stamp);
    }
}

static void
add_traceback(struct failed_imports *f, PyObject *exc)
{
    CLEANUP(py_clear) PyObject *at = PyException_GetTraceback(exc);
    for (int i = 0; i < FRAMES_MAX && at != NULL && PyTraceBack_Check(at);
         i++) {
        PyTracebackObject *tb = (PyTracebackObject *)at;
        PyCodeObject *code = PyFrame_GetCode(tb->tb_frame);
        add_name(f, code->co_filename);
        Py_DECREF(code);
        /* not the field, which Python code can set */
        PyObject *next = PyObject_GetAttrString(at, "tb_next");
        Py_SETREF(at, next);
    }
    PyErr_Clear();
}

/* Adds folder/NAME.py and folder/NAME/__init__.py, which do not exist yet. */
static void
add_module_in(struct failed_imports *f, PyObject *folder, const char *name)
{
    static const char *const ends[] = {".py", "/__init__.py"};
    const char *dir = PyUnicode_Check(folder) ? PyUnicode_AsUTF8(folder) : NULL;
    char path[PATH_MAX];

    for (size_t i = 0; dir != NULL && dir[0] == '/' && i < ARRAY_SIZE(ends);
         i++) {
        int n = snprintf(path, sizeof(path), "%s/%s%s", dir, name, ends[i]);
        if (n > 0 && (size_t)n < sizeof(path)) {
            failed_imports_add(f, path, file_id_of_path(path));
        }
    }
    PyErr_Clear();
}

/* The folders where Python searches for a module of this full name; dot is its
 * last dot, or NULL. A new list, or NULL. */
static PyObject *
folders_of(PyObject *name, const char *dot)
{
    if (dot == NULL) {
        CLEANUP(py_clear) PyObject *path = py_sys_attr("path");
        return path == NULL ? NULL : PySequence_List(path);
    }
    CLEANUP(py_clear)
    PyObject *package = PyUnicode_DecodeUTF8(
        PyUnicode_AsUTF8(name), dot - PyUnicode_AsUTF8(name), NULL);
    CLEANUP(py_clear) PyObject *m = NULL;
    if (package != NULL) {
        (void)PyDict_GetItemRef(PyImport_GetModuleDict(), package, &m);
    }
    CLEANUP(py_clear)
    PyObject *path = m == NULL ? NULL : PyObject_GetAttrString(m, "__path__");
    return path == NULL ? NULL : PySequence_List(path);
}

static void
add_missing(struct failed_imports *f, PyObject *exc)
{
    CLEANUP(py_clear) PyObject *name = PyObject_GetAttrString(exc, "name");
    const char *text =
        name != NULL && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    if (text != NULL) {
        const char *dot = strrchr(text, '.');
        CLEANUP(py_clear) PyObject *folders = folders_of(name, dot);
        for (Py_ssize_t i = 0; folders != NULL && i < PyList_GET_SIZE(folders);
             i++) {
            add_module_in(f, PyList_GET_ITEM(folders, i),
                          dot == NULL ? text : dot + 1);
        }
    }
    PyErr_Clear();
}

void
failed_imports_add_exception(struct failed_imports *f, PyObject *exc)
{
    ASSERT_ATTACHED();
    PyObject *at = Py_NewRef(exc);
    for (int i = 0; i < CHAIN_MAX && at != NULL; i++) {
        add_traceback(f, at);
        if (PyErr_GivenExceptionMatches(at, PyExc_SyntaxError)) {
            CLEANUP(py_clear)
            PyObject *name = PyObject_GetAttrString(at, "filename");
            PyErr_Clear();
            add_name(f, name);
        }
        if (PyErr_GivenExceptionMatches(at, PyExc_ModuleNotFoundError)) {
            add_missing(f, at);
        }
        PyObject *next = PyException_GetCause(at);
        if (next == NULL) {
            next = PyException_GetContext(at);
        }
        Py_SETREF(at, next);
    }
    Py_XDECREF(at);
}

void
failed_imports_add_module(struct failed_imports *f, const char *name)
{
    CLEANUP(py_clear) PyObject *m = py_loaded_module(name);
    CLEANUP(py_clear)
    PyObject *file = m == NULL ? NULL : PyObject_GetAttrString(m, "__file__");
    PyErr_Clear();
    add_name(f, file);
}

static bool
is_changed(const struct failed_imports *f, size_t i)
{
    struct file_id now = file_id_of_path(f->v[i].path);
    return !file_id_equal(&now, &f->v[i].stamp);
}

bool
failed_imports_changed(const struct failed_imports *f)
{
    for (size_t i = 0; i < f->n; i++) {
        if (is_changed(f, i)) {
            return true;
        }
    }
    return false;
}

static void
unload_file(const char *path)
{
    PyObject *modules = PyImport_GetModuleDict(); /* borrowed */
    /* A copy, because the loop deletes entries. */
    CLEANUP(py_clear) PyObject *all = PyDict_Copy(modules);
    PyObject *name = NULL;
    PyObject *m = NULL;
    for (Py_ssize_t at = 0; all != NULL && PyDict_Next(all, &at, &name, &m);) {
        CLEANUP(py_clear)
        PyObject *file =
            PyModule_Check(m) ? PyModule_GetFilenameObject(m) : NULL;
        const char *its = file == NULL ? NULL : PyUnicode_AsUTF8(file);
        if (its != NULL && strcmp(its, path) == 0 &&
            PyDict_DelItem(modules, name) < 0) {
            PyErr_Clear();
        }
        PyErr_Clear();
    }
    PyErr_Clear();
}

void
failed_imports_unload_changed(const struct failed_imports *f)
{
    ASSERT_ATTACHED();
    for (size_t i = 0; i < f->n; i++) {
        if (is_changed(f, i)) {
            unload_file(f->v[i].path);
        }
    }
}
