/*
 * interp.c - the embedded Python interpreter: start and end
 */
#include "python/interp.h"

#include "config.h"
#include "os/log.h"
#include "os/path_absolute.h"
#include "python/finalize.h"
#include "python/gil_state.h"
#include "python/prefault.h"
#include "python/python.h"
#include "python/python_fork.h"
#include "python/site.h"
#include "python/venv.h"

#include <errno.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#if WSGI_CGI_LINK_STATIC
#include "frozen_encodings.h"
#endif

/* How long one of several threads may compute while another one waits. Python's
 * own 5 ms would delay every short request beside a busy one by as much. Of use
 * with a free-threaded Python too, once an extension module has turned its GIL
 * on. */
#define SWITCH_INTERVAL_S 0.0005

/* The executable and --venv, found by the first call of find_executable():
 * later, --chdir may have changed what a relative path means. The main thread
 * writes all of these, before other threads exist. */
static char executable[PATH_MAX];
static char venv_dir[PATH_MAX];
static PyThreadState *main_state;
static bool utf8_mode;

/* -- before Python --------------------------------------------------------- */

/* Fills in executable and venv_dir. 0 or -errno. */
static int
find_executable(const struct config *config)
{
    if (executable[0] != '\0') {
        return 0;
    }
    if (config->venv != NULL) {
        int r = path_absolute_trimmed(config->venv, venv_dir, sizeof(venv_dir));
        if (r < 0) {
            return r;
        }
    }
    const char *dir = config->venv != NULL ? venv_dir : "";
    const char *name =
        config->venv != NULL ? "/bin/python" : WSGI_CGI_PYTHON_EXE;
    int n = snprintf(executable, sizeof(executable), "%s%s", dir, name);
    if (n < 0 || (size_t)n >= sizeof(executable)) {
        executable[0] = '\0';
        return -ENAMETOOLONG;
    }
    return 0;
}

int
interp_check(const struct config *config)
{
    int r = find_executable(config);
    if (r < 0) {
        log_error("--venv: %s: %s", config->venv, strerror(-r));
        return EX_CONFIG;
    }
    r = venv_check_base(WSGI_CGI_PYTHON_EXE);
    if (r == 0 && config->venv != NULL) {
        r = venv_check(venv_dir, WSGI_CGI_PYTHON_EXE, config->user_site);
    }
    return r != 0 ? r : site_check_user(config);
}

int
interp_executable(const struct config *config, char *to, size_t size)
{
    int r = find_executable(config);
    if (r < 0) {
        return r;
    }
    int n = snprintf(to, size, "%s", executable);
    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

const char *
interp_version(void)
{
    static char version[128];
    /* Ask the library: a shared one may be newer than the headers. */
    const char *whole = Py_GetVersion();
    (void)snprintf(version, sizeof(version), "%.*s, %s libpython%s",
                   (int)strcspn(whole, " "), whole,
                   WSGI_CGI_LINK_STATIC ? "static" : "shared",
                   gil_state_text());
    return version;
}

const char *
interp_name(void)
{
    static char name[128];
    const char *whole = Py_GetVersion();

    (void)snprintf(name, sizeof(name), "%.*s%s", (int)strcspn(whole, " "),
                   whole, gil_state_is_free_threaded() ? " free-threaded" : "");
    return name;
}

/* -- start ----------------------------------------------------------------- */

/* encodings, encodings.aliases and encodings.utf_8 are the only files that
 * Python itself reads at every start. Their bytecode is made at build time, if
 * libpython is static and Python is 3.11 or later. */
static void
register_frozen(void)
{
#ifdef FROZEN_MODULES
    static const struct _frozen modules[] = {FROZEN_MODULES{.name = NULL}};

    PyImport_FrozenModules = modules;
#endif
}

static PyStatus
preinit(void)
{
    PyPreConfig pre;
    PyPreConfig_InitPythonConfig(&pre);
    pre.parse_argv = 0;
    /* Use UTF-8 for file names and standard streams in every locale, because
     * most web servers start their children without one. Setting it here would
     * override PYTHONUTF8, by which a user can say otherwise. */
    const char *utf8 = getenv("PYTHONUTF8");
    utf8_mode = utf8 == NULL || strcmp(utf8, "0") != 0;
    pre.utf8_mode = utf8_mode;
    /* Coercion would put LC_CTYPE into os.environ, and so into environ. */
    pre.coerce_c_locale = 0;
#if HAS_ASAN
    /* pymalloc's arenas hide leaks and overruns from the sanitizer. */
    pre.allocator = PYMEM_ALLOCATOR_MALLOC;
#endif
    return Py_PreInitialize(&pre);
}

static PyStatus
init(const struct config *config, const char *script)
{
    char name[PATH_MAX];
    char *argv[] = {name};
    (void)snprintf(name, sizeof(name), "%s",
                   script != NULL ? script : "wsgi-cgi");

    PyConfig c;
    PyConfig_InitPythonConfig(&c);
    c.parse_argv = 0;
    c.install_signal_handlers = 0;
    c.pathconfig_warnings = 0;
    c.user_site_directory = config->user_site;
    if (config->debug) {
        c.faulthandler = 1;
    }
    /* Set both, or Python would look for its library beside the first python3
     * on PATH. */
    PyStatus s = PyConfig_SetBytesString(&c, &c.program_name, executable);
    if (!PyStatus_Exception(s)) {
        s = PyConfig_SetBytesString(&c, &c.executable, executable);
    }
    if (!PyStatus_Exception(s)) {
        s = PyConfig_SetBytesArgv(&c, 1, argv);
    }
    if (!PyStatus_Exception(s)) {
        s = Py_InitializeFromConfig(&c);
    }
    PyConfig_Clear(&c);
    return s;
}

/* threading takes the thread that imports it first for the main thread. Import
 * it here, so that it is not a request thread. */
static int
prepare_threads(void)
{
    CLEANUP(py_clear) PyObject *threading = PyImport_ImportModule("threading");
    CLEANUP(py_clear) PyObject *sys = PyImport_ImportModule("sys");
    if (threading == NULL || sys == NULL) {
        return -1;
    }
    CLEANUP(py_clear)
    PyObject *r =
        PyObject_CallMethod(sys, "setswitchinterval", "d", SWITCH_INTERVAL_S);
    return r == NULL ? -1 : python_fork_register_hook();
}

/* site reads .pth files in the encoding of the locale, which is ASCII when a
 * web server sets none. Then one non-ASCII letter in a path would make every
 * request fail. Read them as UTF-8, as python3 does. Changes this thread's
 * locale only. Returns what restore_ctype() takes; 0 if nothing was changed. */
static locale_t
use_utf8_ctype(const struct config *config)
{
    locale_t utf8;

    if ((config->venv == NULL && !config->user_site &&
         config->python_path.n == 0) ||
        !utf8_mode || strcmp(nl_langinfo(CODESET), "ANSI_X3.4-1968") != 0) {
        return (locale_t)0;
    }
    utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (utf8 != (locale_t)0) {
        (void)uselocale(utf8);
    }
    return utf8;
}

static void
restore_ctype(locale_t utf8)
{
    if (utf8 != (locale_t)0) {
        (void)uselocale(LC_GLOBAL_LOCALE);
        freelocale(utf8);
    }
}

static int
set_up(const struct config *config, const struct interp_hooks *hooks)
{
    if (gil_state_open() < 0 || hooks->after_start() < 0) {
        return -1;
    }
    return config->threads > 1 ? prepare_threads() : 0;
}

/* The current exception, and a line about it. */
static void
print_set_up_error(void)
{
    assert(PyErr_Occurred());
    if (PyErr_ExceptionMatches(PyExc_SystemExit)) {
        PyErr_WriteUnraisable(NULL); /* PyErr_Print() would exit */
    }
    else {
        PyErr_Print();
    }
    log_error("Python started, but could not be set up (see above)");
}

int
interp_start(const struct config *config, const char *script,
             const struct interp_hooks *hooks)
{
    assert(main_state == NULL && !Py_IsInitialized());
    int r = find_executable(config);
    if (r < 0) {
        log_error("--venv: %s: %s", config->venv, strerror(-r));
        return EX_SOFTWARE;
    }
    if (hooks->before_start() < 0) {
        log_error("Python could not be started: out of memory");
        return EX_SOFTWARE;
    }
    prefault_data();
    register_frozen();
    PyStatus s = preinit();
    locale_t utf8 = use_utf8_ctype(config);
    if (!PyStatus_Exception(s)) {
        s = init(config, script);
    }
    r = PyStatus_Exception(s) ? 0 : set_up(config, hooks);
    assert(PyStatus_Exception(s) || (r < 0) == (PyErr_Occurred() != NULL));
    restore_ctype(utf8);
    if (PyStatus_Exception(s)) {
        /* Py_ExitStatusException() would end the process with its own text. */
        log_error("Python could not be started as %s: %s", executable,
                  s.err_msg != NULL ? s.err_msg : "no reason given");
        return EX_SOFTWARE;
    }
    if (r < 0) {
        print_set_up_error();
        return EX_SOFTWARE;
    }
    main_state = PyEval_SaveThread();
    return 0;
}

/* -- end ------------------------------------------------------------------- */

static void
finish(bool join_threads)
{
    if (main_state == NULL) {
        return;
    }
    PyEval_RestoreThread(main_state);
    main_state = NULL;
    finalize_python(join_threads);
    (void)fflush(NULL);
}

void
interp_finish(void)
{
    finish(true);
}

void
interp_finish_without_threads(void)
{
    finish(false);
}
