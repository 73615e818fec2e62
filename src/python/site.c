/*
 * site.c - folders of packages: .pth files, and a user's packages
 */
#include "python/site.h"

#include "os/log.h"
#include "os/path_access.h"

#include <dirent.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* sys.path, a new reference. NULL with an exception if it is not a list. */
static PyObject *
path_list(void)
{
    CLEANUP(py_clear) PyObject *path = py_sys_attr("path");

    if (path == NULL || !PyList_Check(path)) {
        PyErr_SetString(PyExc_RuntimeError, "sys.path is not a list");
        return NULL;
    }
    return py_steal(&path);
}

int
site_insert_path(const char *dir, Py_ssize_t position)
{
    ASSERT_ATTACHED();
    CLEANUP(py_clear) PyObject *entry = PyUnicode_DecodeFSDefault(dir);
    CLEANUP(py_clear) PyObject *path = entry == NULL ? NULL : path_list();

    return path == NULL ? -1 : PyList_Insert(path, position, entry);
}

/* -- .pth files ------------------------------------------------------------ */

/* Only at start, in the main thread: no thread of ours runs yet. One that a .pth
 * file started may change sys.path at its own risk, as with python3. */

/* The index of this very object; -1 if the list does not have it. */
static Py_ssize_t
index_of(PyObject *list, const PyObject *o)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        if (PyList_GET_ITEM(list, i) == o) {
            return i;
        }
    }
    return -1;
}

/* How many entries at the end of path are not in old. -1 with an exception. */
static Py_ssize_t
count_new(PyObject *path, PyObject *old)
{
    Py_ssize_t n = 0;

    while (n < PyList_GET_SIZE(path)) {
        int is_old = PySequence_Contains(
            old, PyList_GET_ITEM(path, PyList_GET_SIZE(path) - 1 - n));
        if (is_old != 0) {
            return is_old < 0 ? -1 : n;
        }
        n++;
    }
    return n;
}

/* site appends the folders of .pth files at the end of sys.path; moves them to
 * `at`. What an import line has put elsewhere stays, since that was its
 * intention. Returns their number, or -1 with an exception. */
static int
move_new(PyObject *path, PyObject *old, Py_ssize_t at)
{
    Py_ssize_t n = count_new(path, old);
    Py_ssize_t size = PyList_GET_SIZE(path);

    if (n <= 0) {
        return n < 0 ? -1 : 0;
    }
    assert(at >= 0 && at <= size - n);
    CLEANUP(py_clear)
    PyObject *added = PyList_GetSlice(path, size - n, size);
    return added == NULL || PyList_SetSlice(path, size - n, size, NULL) < 0 ||
                   PyList_SetSlice(path, at, at, added) < 0
               ? -1
               : (int)n;
}

/* Most folders have none. Calling site for nothing would cost 0.6 % of a small
 * CGI request. */
static bool
has_pth_file(const char *dir)
{
    DIR *d = opendir(dir);
    const struct dirent *e;
    bool has = false;

    while (d != NULL && !has && (e = readdir(d)) != NULL) {
        size_t n = strlen(e->d_name);
        has = n >= 4 && memcmp(e->d_name + n - 4, ".pth", 4) == 0;
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return has;
}

int
site_add_folder(const char *dir, Py_ssize_t *at)
{
    if (site_insert_path(dir, *at) < 0) {
        return -1;
    }
    if (!has_pth_file(dir)) {
        *at += 1;
        return 0;
    }
    CLEANUP(py_clear) PyObject *path = path_list();
    if (path == NULL) {
        return -1;
    }
    CLEANUP(py_clear) PyObject *entry = PyList_GetItemRef(path, *at);
    if (entry == NULL) {
        return -1;
    }
    CLEANUP(py_clear) PyObject *old = PySequence_List(path);
    CLEANUP(py_clear) PyObject *site = PyImport_ImportModule("site");
    CLEANUP(py_clear)
    PyObject *r = old == NULL || site == NULL
                      ? NULL
                      : PyObject_CallMethod(site, "addsitedir", "O", entry);
    Py_SETREF(path, r == NULL ? NULL : path_list());
    if (path == NULL) {
        return -1;
    }
    Py_ssize_t found = index_of(path, entry);
    if (found < 0) {
        return 0; /* a .pth file has removed it */
    }
    int n = move_new(path, old, found + 1);
    *at = found + 1 + n;
    return n < 0 ? -1 : 0;
}

/* -- the packages of a user ------------------------------------------------ */

#define PACKAGES "/lib/python" PYTHON_X_Y "/site-packages"

enum { WHY_MAX = 2 * PATH_MAX + 256 };

/* Where Python looks for the user's packages. False after a log line if that is
 * unknown. */
static bool
find_packages(char *to, size_t size)
{
    const char *base = getenv("PYTHONUSERBASE"), *below = "";

    if (base == NULL || *base == '\0') {
        below = "/.local";
        base = getenv("HOME");
    }
    if (base == NULL) {
        const struct passwd *pw = getpwuid(getuid());
        if (pw == NULL) {
            log_error("--user-site: HOME is not set, and there is no passwd "
                      "entry for uid %u",
                      (unsigned)getuid());
            return false;
        }
        base = pw->pw_dir;
    }
    int n = snprintf(to, size, "%s%s" PACKAGES, base, below);
    if (base[0] != '/' || n < 0 || (size_t)n >= size) {
        log_error("--user-site: %s is \"%s\", not an absolute path",
                  *below != '\0' ? "HOME" : "PYTHONUSERBASE", base);
        return false;
    }
    return true;
}

static bool
check_packages(void)
{
    char path[PATH_MAX], why[WHY_MAX];
    struct stat st;

    if (!find_packages(path, sizeof path)) {
        return false;
    }
    if (path_access(path, R_OK | X_OK, &st, why, sizeof why) < 0) {
        log_error("--user-site: %s: %s", path, why);
        return false;
    }
    /* HOME may be another user's, as under sudo or spawn-fcgi -u, and the owner
     * of the folder decides what this process runs. */
    if (st.st_uid != geteuid() && st.st_uid != 0) {
        log_error("--user-site: %s belongs to uid %u, but this process runs as "
                  "uid %u: is HOME another user's?",
                  path, (unsigned)st.st_uid, (unsigned)geteuid());
        return false;
    }
    return true;
}

int
site_check_user(const struct config *config)
{
    const char *forbidden = getenv("PYTHONNOUSERSITE");

    if (!config->user_site) {
        return 0;
    }
    if (forbidden != NULL && *forbidden != '\0') {
        log_error("--user-site: the variable PYTHONNOUSERSITE forbids it");
        return EX_CONFIG;
    }
    if (getuid() != geteuid() || getgid() != getegid()) {
        log_error("--user-site: this process has the rights of another user or "
                  "group (set-user-ID); then Python ignores the packages of a "
                  "user");
        return EX_CONFIG;
    }
    return check_packages() ? 0 : EX_CONFIG;
}
