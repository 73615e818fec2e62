/*
 * loader.c - finds and imports the WSGI application
 */
#include "app/loader.h"

#include "app/app_cache.h"
#include "app/app_spec.h"
#include "app/imports.h"
#include "context/error_stream.h"
#include "debug/traceback.h"
#include "os/log.h"
#include "os/path_absolute.h"
#include "os/path_access.h"
#include "python/python.h"
#include "python/site.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum { WHY_MAX = 2 * PATH_MAX + 512 };

/* Written by loader_prepare(), then only read. */
static const struct config *config;
static struct app_spec only_app;   /* APP; all NULL without one */
static char scripts_dir[PATH_MAX]; /* --scripts-in, absolute */
static char **python_path_dirs;    /* --python-path, absolute; a NULL ends it */

static bool
has_app(void)
{
    return only_app.display_name != NULL;
}

/* -- before Python --------------------------------------------------------- */

/* Checks a directory and puts its absolute path in to. 0, or EX_USAGE after one
 * line. */
static int
check_dir(const char *option, const char *dir, char *to, size_t size)
{
    char why[WHY_MAX];
    struct stat st;

    int r = path_absolute_trimmed(dir, to, size);
    if (r < 0) {
        log_error("%s: %s: %s", option, dir, strerror(-r));
        return EX_USAGE;
    }
    r = path_access(to, F_OK, &st, why, sizeof(why));
    if (r == 0 && !S_ISDIR(st.st_mode)) {
        log_error("%s: %s: this is not a directory", option, dir);
        return EX_USAGE;
    }
    if (r == 0) {
        r = path_access(to, X_OK, NULL, why, sizeof(why));
    }
    if (r < 0) {
        log_error("%s: %s: %s", option, dir, why);
        return EX_USAGE;
    }
    return 0;
}

static int
prepare_python_path(void)
{
    char dir[PATH_MAX];

    python_path_dirs =
        calloc(config->python_path.n + 1, sizeof(*python_path_dirs));
    for (size_t i = 0; python_path_dirs != NULL && i < config->python_path.n;
         i++) {
        int r = check_dir("--python-path", config->python_path.v[i], dir,
                          sizeof(dir));
        if (r != 0) {
            return r;
        }
        python_path_dirs[i] = strdup(dir);
        if (python_path_dirs[i] == NULL) {
            break;
        }
    }
    if (python_path_dirs == NULL ||
        (config->python_path.n > 0 &&
         python_path_dirs[config->python_path.n - 1] == NULL)) {
        log_error("out of memory");
        return EX_OSERR;
    }
    return 0;
}

int
loader_prepare(const struct config *from)
{
    char why[WHY_MAX];

    config = from;
    int r = prepare_python_path();
    if (r == 0 && config->scripts_in != NULL) {
        r = check_dir("--scripts-in", config->scripts_in, scripts_dir,
                      sizeof(scripts_dir));
    }
    if (r != 0 || config->app == NULL) {
        return r;
    }
    r = app_spec_parse(config->app, config->callable, &only_app, why,
                       sizeof(why));
    if (r < 0) {
        log_error("APP: %s: %s", config->app, why);
        return r == -EINVAL ? EX_USAGE : EX_NOINPUT;
    }
    return 0;
}

const char *
loader_script(void)
{
    return only_app.file;
}

bool
loader_is_script_name(const char *name)
{
    return app_spec_is_script_name(name, strlen(name));
}

/* -- with Python ----------------------------------------------------------- */

/* The folder of the script, with links followed, as for python3 SCRIPT; the
 * current folder for a module. 0 or -errno. */
static int
app_folder(char *to, size_t size)
{
    char real[PATH_MAX];
    if (only_app.file == NULL) {
        return getcwd(to, size) == NULL ? -errno : 0;
    }
    if (realpath(only_app.file, real) == NULL) {
        return -errno;
    }
    char *slash = strrchr(real, '/');
    assert(slash != NULL);
    slash[slash == real] = '\0';
    (void)snprintf(to, size, "%s", real);
    return 0;
}

int
loader_set_path(void)
{
    char dir[PATH_MAX];
    Py_ssize_t at = 0;

    if (has_app()) {
        int r = app_folder(dir, sizeof(dir));
        if (r < 0) {
            errno = -r;
            PyErr_SetFromErrnoWithFilename(PyExc_OSError,
                                           only_app.display_name);
            return -1;
        }
        if (site_insert_path(dir, at++) < 0) {
            return -1;
        }
    }
    for (char **d = python_path_dirs; d != NULL && *d != NULL; d++) {
        if (site_add_folder(*d, &at) < 0) {
            return -1;
        }
    }
    return has_app() ? app_cache_init(config, &only_app, NULL)
                     : app_cache_init(config, NULL, scripts_dir);
}

/* True if str(exc) says everything: no Python code has raised it, and it has no
 * context. (A SyntaxError also has a line of source.) */
static bool
needs_no_traceback(PyObject *exc)
{
    CLEANUP(py_clear) PyObject *frames = PyException_GetTraceback(exc);
    CLEANUP(py_clear) PyObject *context = PyException_GetContext(exc);

    return frames == NULL && context == NULL &&
           !PyErr_GivenExceptionMatches(exc, PyExc_SyntaxError);
}

/* Prints the cause alone: the LoadError around it is for requests. */
static void
print_failure(PyObject *exc)
{
    CLEANUP(py_clear) PyObject *cause = PyException_GetCause(exc);
    PyObject *shown = cause != NULL ? cause : exc;
    CLEANUP(py_clear)
    PyObject *lines =
        needs_no_traceback(shown) ? NULL : traceback_format(shown);
    PyErr_Clear();
    CLEANUP(py_clear) PyObject *text = PyObject_Str(exc);
    const char *utf8 = text == NULL ? NULL : PyUnicode_AsUTF8(text);

    error_stream_end_line(); /* keep the order with what it has printed */
    log_entry(&(struct log_entry){
        .level = LOG_LEVEL_ERROR,
        .text = utf8 != NULL ? utf8 : "the application cannot be loaded",
        .more = lines == NULL ? NULL : PyBytes_AS_STRING(lines),
        .more_len = lines == NULL ? 0 : (size_t)PyBytes_GET_SIZE(lines)});
    PyErr_Clear();
}

bool
loader_is_loaded(void)
{
    return app_cache_only_is_ready();
}

int
loader_load(void)
{
    if (!has_app()) {
        return 0;
    }
    PyGILState_STATE gil = PyGILState_Ensure();
    imports_begin();
    PyObject *callable = app_cache_get_only();
    assert((callable == NULL) == (PyErr_Occurred() != NULL));
    int r = callable == NULL ? EX_SOFTWARE : 0;
    if (callable == NULL) {
        PyObject *exc = PyErr_GetRaisedException();
        if (exc != NULL) {
            print_failure(exc);
        }
        Py_XDECREF(exc);
    }
    Py_XDECREF(callable);
    imports_end();
    PyGILState_Release(gil);
    return r;
}
