/*
 * import_hint.c - what to do about a module that was not found
 */
#include "debug/import_hint.h"

#include "base/compiler.h"

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
    char name[NAME_MAX_BYTES]; /* of the missing module, up to the first dot */
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
take_missing(PyObject *exc, struct failed_import *f)
{
    CLEANUP(py_clear) PyObject *name = py_attr(exc, "name");
    const char *text =
        name != NULL && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;

    PyErr_Clear();
    /* Where the first part was found, it is the package that lacks a file. */
    return text != NULL &&
           take_name(text, strcspn(text, "."), f->name, sizeof f->name) &&
           PyDict_GetItemString(PyImport_GetModuleDict(), f->name) == NULL;
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
            found = f->is_relative = is_relative(at);
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

/* MODULE itself was not found. */
static PyObject *
hint_module(const struct failed_import *f)
{
    char hint[HINT_MAX];
    size_t n = strlen(f->name);

    if (f->module == NULL || strncmp(f->module, f->name, n) != 0 ||
        (f->module[n] != '\0' && f->module[n] != '.')) {
        return NULL;
    }
    (void)snprintf(hint, sizeof hint,
                   "it was searched in %s: --chdir or --python-path names "
                   "another folder",
                   f->folder);
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
    PyObject *python = PySys_GetObject("executable"); /* borrowed */
    PyObject *venv = PySys_GetObject("prefix");
    PyObject *hint = NULL;

    if (f->config->venv != NULL && venv != NULL) {
        hint = PyUnicode_FromFormat("%s is not installed in the virtual "
                                    "environment %S: install it there",
                                    f->name, venv);
    }
    else if (python != NULL) {
        hint = PyUnicode_FromFormat(
            "%s is not installed for Python %d.%d (%S): install it in a "
            "virtual environment and give --venv",
            f->name, PY_MAJOR_VERSION, PY_MINOR_VERSION, python);
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

    ASSERT_GIL();
    assert(file != NULL || module != NULL);
    if (!find_import(exc, &f) || !find_folder(file, &f)) {
        return NULL;
    }
    if (f.is_relative) {
        return hint_relative(&f);
    }
    static PyObject *(*const hints[])(const struct failed_import *) = {
        hint_foreign, hint_above,  hint_venv,
        hint_user,    hint_module, hint_install};
    for (size_t i = 0; i < ARRAY_SIZE(hints) && hint == NULL; i++) {
        hint = hints[i](&f);
    }
    assert(!PyErr_Occurred());
    return hint;
}
