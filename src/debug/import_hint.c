/*
 * import_hint.c - what to do about a module that was not found
 */
#include "debug/import_hint.h"

#include "base/compiler.h"
#include "debug/find_below.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CHAIN_MAX = 8,  /* exceptions: frameworks raise their own from ours */
    LEVELS_MAX = 4, /* folders above the application */
    NAME_MAX_BYTES = 200,
    HINT_MAX = 4 * PATH_MAX,
};

/* An import that failed, and where. */
struct failed_import {
    char full[NAME_MAX_BYTES]; /* the name of the missing module */
    char name[NAME_MAX_BYTES]; /* the same up to the first dot */
    bool has_parent;           /* "a.b" is missing, and "a" was found */
    bool is_name;              /* "from a import b", where b may be anything */
    bool is_relative;          /* "from . import x" outside of a package */
    char folder[PATH_MAX];     /* of the file, or the current one */
    char stem[NAME_MAX_BYTES]; /* of a .py file that can be a module, or "" */
    const char *module;        /* NULL for a file */
    const struct config *config;
};

/* -- what is missing ------------------------------------------------------- */

/* The name as far as it is that of a file: letters, digits, "_". */
static bool
take_name(const char *from, size_t n, char *to, size_t size)
{
    if (n == 0 || n >= size) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)from[i]) && from[i] != '_') {
            return false;
        }
    }
    memcpy(to, from, n);
    to[n] = '\0';
    return true;
}

static bool
take_full(const char *text, struct failed_import *f)
{
    size_t n = strlen(text), first = strcspn(text, ".");

    if (n >= sizeof f->full ||
        !take_name(text, first, f->name, sizeof f->name)) {
        return false;
    }
    memcpy(f->full, text, n + 1);
    f->has_parent = text[first] == '.';
    return true;
}

/* The module that has been imported, or NULL without an exception. New
 * reference: another thread may forget it. */
static PyObject *
imported(const char *name)
{
    PyObject *module;

    if (PyDict_GetItemStringRef(PyImport_GetModuleDict(), name, &module) < 0) {
        PyErr_Clear();
    }
    return module;
}

static bool
take_missing(PyObject *exc, struct failed_import *f)
{
    CLEANUP(py_clear) PyObject *name = py_attr(exc, "name");
    const char *text =
        name != NULL && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;

    PyErr_Clear();
    /* Python names the first part that it did not find. */
    if (text == NULL || !take_full(text, f)) {
        return false;
    }
    CLEANUP(py_clear) PyObject *module = imported(f->name);
    return f->has_parent || module == NULL;
}

/* "from shop import models" where there is no such module: Python cannot know
 * that one was meant. */
static bool
take_imported(PyObject *exc, struct failed_import *f)
{
    static const char start[] = "cannot import name '";
    CLEANUP(py_clear) PyObject *package = py_attr(exc, "name");
    CLEANUP(py_clear) PyObject *str = PyObject_Str(exc);
    const char *text = str == NULL ? NULL : PyUnicode_AsUTF8(str);
    const char *from = package != NULL && PyUnicode_Check(package)
                           ? PyUnicode_AsUTF8(package)
                           : NULL;
    char full[NAME_MAX_BYTES];

    PyErr_Clear();
    if (text == NULL || from == NULL ||
        strncmp(text, start, sizeof start - 1) != 0 ||
        strstr(text, "circular import") != NULL) {
        return false;
    }
    const char *name = text + sizeof start - 1;
    /* A class has a name like this. */
    if (isupper((unsigned char)*name)) {
        return false;
    }
    int n = snprintf(full, sizeof full, "%s.%.*s", from,
                     (int)strcspn(name, "'"), name);
    f->is_name = n > 0 && (size_t)n < sizeof full && take_full(full, f);
    return f->is_name;
}

/* Python has no type of its own for it. */
static bool
is_relative(PyObject *exc)
{
    CLEANUP(py_clear) PyObject *str = PyObject_Str(exc);
    const char *text = str == NULL ? NULL : PyUnicode_AsUTF8(str);

    PyErr_Clear();
    return text != NULL &&
           strstr(text, "relative import with no known parent") != NULL;
}

/* The exception or one of its causes. False: it is no import. */
static bool
find_import(PyObject *exc, struct failed_import *f)
{
    bool found = false;
    PyObject *at = Py_NewRef(exc);

    for (int i = 0; i < CHAIN_MAX && at != NULL && !found; i++) {
        if (PyErr_GivenExceptionMatches(at, PyExc_ModuleNotFoundError)) {
            found = take_missing(at, f);
        }
        else if (PyErr_GivenExceptionMatches(at, PyExc_ImportError)) {
            f->is_relative = is_relative(at);
            found = f->is_relative || take_imported(at, f);
        }
        PyObject *next = PyException_GetCause(at);
        Py_SETREF(at, next != NULL ? next : PyException_GetContext(at));
    }
    Py_XDECREF(at);
    return found;
}

/* -- where it is ----------------------------------------------------------- */

static bool
find_folder(const char *file, struct failed_import *f)
{
    if (file == NULL) {
        return getcwd(f->folder, sizeof f->folder) != NULL;
    }
    if (realpath(file, f->folder) == NULL) {
        return false;
    }
    char *slash = strrchr(f->folder, '/');
    assert(slash != NULL);
    size_t n = strlen(slash + 1);
    if (n > 3 && strcmp(slash + 1 + n - 3, ".py") == 0) {
        (void)take_name(slash + 1, n - 3, f->stem, sizeof f->stem);
    }
    *slash = '\0';
    return f->folder[0] != '\0';
}

/* The folder above; false for the root. */
static bool
go_up(char *folder)
{
    char *slash = strrchr(folder, '/');

    if (slash == NULL || slash[1] == '\0') {
        return false;
    }
    slash[slash == folder] = '\0';
    return true;
}

static bool
has_module(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);

    if (n < 0 || (size_t)n >= sizeof path - 3) {
        return false;
    }
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        return true;
    }
    memcpy(path + n, ".py", sizeof ".py");
    return access(path, F_OK) == 0;
}

/* A string of Python as the bytes of a path. */
static bool
take_path(PyObject *str, char *to, size_t size)
{
    CLEANUP(py_clear)
    PyObject *bytes = str != NULL && PyUnicode_Check(str)
                          ? PyUnicode_EncodeFSDefault(str)
                          : NULL;

    PyErr_Clear();
    if (bytes == NULL || (size_t)PyBytes_GET_SIZE(bytes) >= size) {
        return false;
    }
    memcpy(to, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes) + 1);
    return true;
}

/* The first folder of a package; false for a module that is none. */
static bool
folder_of(PyObject *module, char *to, size_t size)
{
    CLEANUP(py_clear) PyObject *path = py_attr(module, "__path__");
    CLEANUP(py_clear)
    PyObject *first =
        path == NULL ? NULL : PyObject_CallMethod(path, "__getitem__", "i", 0);

    PyErr_Clear();
    return take_path(first, to, size);
}

static PyObject *
text_of(const char *text)
{
    PyObject *str = PyUnicode_DecodeFSDefault(text);

    PyErr_Clear();
    return str;
}

/* "mysite/wsgi.py" of a Django site imports mysite.settings, but the folder
 * that Python searches is mysite/ itself. */
static PyObject *
hint_above(const struct failed_import *f)
{
    char folder[PATH_MAX], hint[HINT_MAX];
    const char *own = strrchr(f->folder, '/') + 1;
    bool is_own = true; /* the folder above the application's */

    memcpy(folder, f->folder, sizeof folder);
    for (int i = 0; i < LEVELS_MAX && go_up(folder); i++, is_own = false) {
        if (!has_module(folder, f->name)) {
            continue;
        }
        if (!is_own || strcmp(own, f->name) != 0) {
            (void)snprintf(hint, sizeof hint,
                           "%s is in %s: give --python-path %s", f->name,
                           folder, folder);
        }
        else if (f->module != NULL) {
            (void)snprintf(hint, sizeof hint,
                           "%s is the current folder: give --chdir %s", f->name,
                           folder);
        }
        else if (f->stem[0] != '\0' && f->config->app != NULL) {
            (void)snprintf(hint, sizeof hint,
                           "%s is the folder of this file: give --python-path "
                           "%s, or --chdir %s and %s.%s as the application",
                           f->name, folder, folder, f->name, f->stem);
        }
        else {
            (void)snprintf(hint, sizeof hint,
                           "%s is the folder of this file: give --python-path "
                           "%s",
                           f->name, folder);
        }
        return text_of(hint);
    }
    return NULL;
}

/* "from . import x" in a file that is given by its path. */
static PyObject *
hint_relative(const struct failed_import *f)
{
    char folder[PATH_MAX], hint[HINT_MAX], name[NAME_MAX_BYTES];
    const char *own = strrchr(f->folder, '/') + 1;

    memcpy(folder, f->folder, sizeof folder);
    if (f->module != NULL || f->stem[0] == '\0' || f->config->app == NULL ||
        !take_name(own, strlen(own), name, sizeof name) || !go_up(folder)) {
        return NULL;
    }
    (void)snprintf(hint, sizeof hint,
                   "a file given by its path is in no package: give --chdir %s "
                   "and %s.%s as the application",
                   folder, name, f->stem);
    return text_of(hint);
}

static bool
is_match(const char *pattern)
{
    glob_t found;
    bool is = glob(pattern, GLOB_NOSORT, NULL, &found) == 0;

    if (is) {
        globfree(&found);
    }
    return is;
}

/* True if the module is among the packages below lib/pythonX.Y of prefix. */
static bool
is_installed(const char *prefix, const char *name)
{
    static const char *const ends[] = {"", ".py"};
    char pattern[PATH_MAX];

    if (strpbrk(prefix, "*?[\\") != NULL) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        int n = snprintf(pattern, sizeof pattern,
                         "%s/lib/python*/site-packages/%s%s", prefix, name,
                         ends[i]);
        if (n > 0 && (size_t)n < sizeof pattern && is_match(pattern)) {
            return true;
        }
    }
    return false;
}

static PyObject *
hint_venv(const struct failed_import *f)
{
    static const char *const names[] = {"venv", ".venv", "env"};
    char folder[PATH_MAX], venv[PATH_MAX], hint[HINT_MAX];

    if (f->config->venv != NULL) {
        return NULL;
    }
    memcpy(folder, f->folder, sizeof folder);
    for (int i = 0; i < LEVELS_MAX; i++) {
        for (size_t j = 0; j < ARRAY_SIZE(names); j++) {
            int n = snprintf(venv, sizeof venv, "%s/%s", folder, names[j]);
            if (n > 0 && (size_t)n < sizeof venv &&
                is_installed(venv, f->name)) {
                (void)snprintf(hint, sizeof hint,
                               "%s is in the virtual environment %s: "
                               "give --venv %s",
                               f->name, venv, venv);
                return text_of(hint);
            }
        }
        if (!go_up(folder)) {
            break;
        }
    }
    return NULL;
}

static PyObject *
hint_user(const struct failed_import *f)
{
    char prefix[PATH_MAX], hint[HINT_MAX];
    const char *home = getenv("HOME");
    int n =
        home == NULL ? -1 : snprintf(prefix, sizeof prefix, "%s/.local", home);

    if (f->config->user_site || f->config->venv != NULL || n < 0 ||
        (size_t)n >= sizeof prefix || !is_installed(prefix, f->name)) {
        return NULL;
    }
    (void)snprintf(hint, sizeof hint,
                   "%s is among the packages of the user, in %s: give "
                   "--user-site",
                   f->name, prefix);
    return text_of(hint);
}

/* True if MODULE itself, or a package of it, is what is missing. */
static bool
is_of_module(const struct failed_import *f)
{
    size_t n = strlen(f->full);

    return f->module != NULL && strncmp(f->module, f->full, n) == 0 &&
           (f->module[n] == '\0' || f->module[n] == '.');
}

static PyObject *
hint_module(const struct failed_import *f)
{
    char hint[HINT_MAX];

    if (!is_of_module(f)) {
        return NULL;
    }
    (void)snprintf(hint, sizeof hint,
                   "it was searched in %s: --chdir or --python-path names "
                   "another folder",
                   f->folder);
    return text_of(hint);
}

/* "a.b.c" as the path of a file, "a/b/c" and end. */
static bool
file_of(const char *module, const char *end, char *to, size_t size)
{
    int n = snprintf(to, size, "%s%s", module, end);

    for (size_t i = 0; n > 0 && module[i] != '\0' && i < size; i++) {
        if (module[i] == '.') {
            to[i] = '/';
        }
    }
    return n > 0 && (size_t)n < size && to[0] != '/';
}

/* One folder further down: the command was given, or the file is, one folder
 * too high. */
static PyObject *
hint_below(const struct failed_import *f)
{
    static const char *const ends[] = {".py", "/__init__.py"};
    char path[PATH_MAX], folder[NAME_MAX + 1], hint[HINT_MAX];
    bool is_app = is_of_module(f);

    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        if (!file_of(is_app ? f->module : f->full, ends[i], path,
                     sizeof path) ||
            !find_below(f->folder, path, folder, sizeof folder)) {
            continue;
        }
        const char *slash = f->folder[1] == '\0' ? "" : "/";
        (void)snprintf(hint, sizeof hint, "%s is in %s%s%s: give %s %s%s%s",
                       is_app ? f->module : f->full, f->folder, slash, folder,
                       is_app ? "--chdir" : "--python-path", f->folder, slash,
                       folder);
        return text_of(hint);
    }
    return NULL;
}

/* The package whose __init__ has failed: Python has forgotten it. */
static bool
find_on_path(const char *name, char *to, size_t size)
{
    CLEANUP(py_clear) PyObject *list = py_sys_attr("path");
    /* Another thread may change it. */
    CLEANUP(py_clear)
    PyObject *path =
        list == NULL || !PyList_Check(list) ? NULL : PySequence_Tuple(list);
    char folder[PATH_MAX], below[PATH_MAX];

    PyErr_Clear();
    if (path == NULL || !file_of(name, "/__init__.py", below, sizeof below)) {
        return false;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(path); i++) {
        int n = take_path(PyTuple_GET_ITEM(path, i), folder, sizeof folder)
                    ? snprintf(to, size, "%s/%s", folder, below)
                    : -1;
        if (n > 0 && (size_t)n < size && access(to, F_OK) == 0) {
            *strrchr(to, '/') = '\0';
            return true;
        }
    }
    return false;
}

/* The package of a missing "shop.models": its folder, or its file where it is
 * no package. Python has imported it, or its __init__ has failed. */
static bool
find_parent(const char *name, bool *ret_is_file, char *to, size_t size)
{
    CLEANUP(py_clear) PyObject *module = imported(name);

    *ret_is_file = false;
    if (module == NULL) {
        return find_on_path(name, to, size);
    }
    if (folder_of(module, to, size)) {
        return true;
    }
    CLEANUP(py_clear) PyObject *file = py_attr(module, "__file__");
    PyErr_Clear();
    *ret_is_file = true;
    return take_path(file, to, size);
}

static PyObject *
hint_lacks(const struct failed_import *f)
{
    char parent[NAME_MAX_BYTES], where[PATH_MAX], hint[HINT_MAX];
    const char *dot = strrchr(f->full, '.');
    bool is_file;

    (void)snprintf(parent, sizeof parent, "%.*s", (int)(dot - f->full),
                   f->full);
    if (!find_parent(parent, &is_file, where, sizeof where)) {
        return NULL;
    }
    if (is_file) {
        if (f->is_name) {
            return NULL; /* Python names the file */
        }
        (void)snprintf(hint, sizeof hint, "%s is the file %s, not a package",
                       parent, where);
        return text_of(hint);
    }
    if (has_module(where, dot + 1)) {
        return NULL;
    }
    (void)snprintf(hint, sizeof hint,
                   "the package %s is in %s, which has no %s.py", parent, where,
                   dot + 1);
    return text_of(hint);
}

/* Modules that a program for WSGI applications has built in. */
static PyObject *
hint_foreign(const struct failed_import *f)
{
    static const struct {
        const char *module, *hint;
    } rows[] = {{"mod_wsgi", "this module exists only in mod_wsgi"},
                {"uwsgi", "this module exists only in uWSGI"},
                {"uwsgidecorators", "this module works only in uWSGI"},
                {"flup", "flup is not needed: wsgi-cgi speaks FastCGI itself"}};
    char hint[HINT_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (strcmp(f->name, rows[i].module) == 0) {
            (void)snprintf(hint, sizeof hint, "%s: see wsgi-cgi-migrating(7)",
                           rows[i].hint);
            return text_of(hint);
        }
    }
    return NULL;
}

/* It was found nowhere. */
static PyObject *
hint_install(const struct failed_import *f)
{
    CLEANUP(py_clear) PyObject *python = py_sys_attr("executable");
    CLEANUP(py_clear) PyObject *venv = py_sys_attr("prefix");
    CLEANUP(py_clear) PyObject *folder = text_of(f->folder);
    PyObject *hint = NULL;

    if (f->config->venv != NULL && venv != NULL) {
        hint = PyUnicode_FromFormat("%s is neither in %V nor installed in the "
                                    "virtual environment %S: install it there",
                                    f->name, folder, "?", venv);
    }
    else if (python != NULL) {
        hint = PyUnicode_FromFormat(
            "%s is neither in %V nor installed for Python %d.%d (%S): install "
            "it in a virtual environment and give --venv",
            f->name, folder, "?", PY_MAJOR_VERSION, PY_MINOR_VERSION, python);
    }
    PyErr_Clear();
    return hint;
}

PyObject *
import_hint(PyObject *exc, const char *file, const char *module,
            const struct config *config)
{
    struct failed_import f = {.module = file != NULL ? NULL : module,
                              .config = config};
    PyObject *hint = NULL;

    ASSERT_ATTACHED();
    assert(file != NULL || module != NULL);
    if (!find_import(exc, &f) || !find_folder(file, &f)) {
        return NULL;
    }
    if (f.is_relative) {
        return hint_relative(&f);
    }
    typedef PyObject *one_hint(const struct failed_import *);
    static one_hint *const top[] = {hint_foreign, hint_above, hint_venv,
                                    hint_user,    hint_below, hint_module,
                                    hint_install};
    static one_hint *const parts[] = {hint_foreign, hint_below, hint_lacks};
    one_hint *const *hints = f.has_parent ? parts : top;
    size_t n = f.has_parent ? ARRAY_SIZE(parts) : ARRAY_SIZE(top);
    for (size_t i = 0; i < n && hint == NULL; i++) {
        hint = hints[i](&f);
    }
    assert(!PyErr_Occurred());
    return hint;
}

const char *
import_hint_submodule(PyObject *package)
{
    static const char *const usual[] = {"wsgi", "app"};
    char folder[PATH_MAX - sizeof "/wsgi.py"], file[PATH_MAX];

    ASSERT_ATTACHED();
    assert(!PyErr_Occurred());
    if (!folder_of(package, folder, sizeof folder)) {
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(usual); i++) {
        (void)snprintf(file, sizeof file, "%s/%s.py", folder, usual[i]);
        if (access(file, F_OK) == 0) {
            return usual[i];
        }
    }
    return NULL;
}
