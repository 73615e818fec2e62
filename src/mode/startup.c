#include "mode/startup.h"

#include "app/imports.h"
#include "app/loader.h"
#include "context/interrupt.h"
#include "mode/math_library.h"
#include "os/fd.h"
#include "os/log.h"
#include "os/path_access.h"
#include "os/safe_path.h"
#include "process/environment.h"
#include "python/gil_state.h"
#include "python/interp.h"
#include "reload/touch_files.h"
#include "wsgi/wsgi_python.h"

#include <assert.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

int
startup_take_stdio(int *ret_in, int *ret_out)
{
    CLEANUP(fd_close) int null = -1;
    int e = 0;

    assert((ret_in == NULL) == (ret_out == NULL));
    if (ret_in != NULL) {
        *ret_in = fd_dup_high(STDIN_FILENO);
        *ret_out = fd_dup_high(STDOUT_FILENO);
        if (*ret_in < 0 || *ret_out < 0) {
            return -EMFILE;
        }
    }
    null = fd_open_null();
    if (null < 0) {
        return null;
    }
    if ((e = fd_redirect(null, STDIN_FILENO)) < 0 ||
        (e = fd_redirect(STDERR_FILENO, STDOUT_FILENO)) < 0) {
        return e;
    }
    return 0;
}

static int
cannot_enter(const char *what, const char *dir, int e)
{
    char why[2 * PATH_MAX + 256];
    int r = path_access(dir, X_OK, NULL, why, sizeof why);

    log_error("%s: %s: %s", what, dir, r == e ? why : safe_path_strerror(e));
    return EX_NOINPUT;
}

/* --chdir: other users must not choose where relative paths lead for root. */
static int
enter_folder(const char *dir)
{
    int e = safe_path_enter(dir);

    return e < 0 ? cannot_enter("--chdir", dir, e) : 0;
}

/* RFC 3875, 7.2: the working directory of a script is its own directory. */
static int
enter_script_folder(const struct config *config)
{
    char path[PATH_MAX];
    const char *script = loader_script();

    if (config->chdir != NULL) {
        return enter_folder(config->chdir);
    }
    if (script == NULL || strlen(script) >= sizeof path) {
        return 0;
    }
    memcpy(path, script, strlen(script) + 1);
    /* A user who could replace it by a link could also replace the script. */
    return chdir(dirname(path)) == 0
               ? 0
               : cannot_enter("the folder of APP", path, -errno);
}

/* APP may have become the value of the option before it. */
static int
no_application(const struct config *config)
{
    const struct config_list *touched = &config->touch_reload;
    const struct {
        const char *option, *file;
    } rows[] = {
        {"touch-reload", touched->n > 0 ? touched->v[touched->n - 1] : NULL},
        {"pid-file", config->pid_file},
        {"log-file", config->log_file},
        {"access-log", config->access_log},
        {"slow-log", config->slow_log}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].file != NULL && loader_is_script_name(rows[i].file)) {
            log_error("no application: %s was taken as the FILE of --%s: give "
                      "APP after it",
                      rows[i].file, rows[i].option);
            return EX_USAGE;
        }
    }
    log_error("no application: give APP (a file or MODULE:CALLABLE) or "
              "--scripts-in=DIR");
    return EX_USAGE;
}

/* Where threads take turns, the number of processors says nothing about how many
 * of them are useful, and one process does not use them all. */
static int
check_threads(const struct config *config)
{
    if (!config->threads_auto || !gil_state_is_on()) {
        return 0;
    }
    log_error("--threads: invalid value \"auto\": %s: expected a number, or "
              "--processes auto",
              gil_state_is_free_threaded()
                  ? "PYTHON_GIL=1 turns on the GIL, with which threads take "
                    "turns"
                  : "this Python has a GIL, so threads take turns");
    return EX_USAGE;
}

int
startup_prepare(const struct config *config, bool is_cgi)
{
    int e = environment_set(config);

    if (e != 0) {
        return e;
    }
    if (config->app == NULL && config->scripts_in == NULL && !config->doctor) {
        return no_application(config);
    }
    if (!config->doctor &&
        ((e = check_threads(config)) != 0 ||
         (e = loader_prepare(config)) != 0 || (e = interp_check(config)) != 0 ||
         (e = math_library_load()) != 0)) {
        return e;
    }
    if (is_cgi) {
        return enter_script_folder(config);
    }
    if ((e = touch_files_prepare(config)) != 0) {
        return e;
    }
    imports_watch(imports_matter(config));
    if (config->is_warm) {
        return enter_script_folder(config); /* as in CGI */
    }
    return config->chdir == NULL ? 0 : enter_folder(config->chdir);
}

int
startup_open_watch(const struct config *config)
{
    return config->request_timeout_ms > 0 && interrupt_open() < 0 ? EX_SOFTWARE
                                                                  : 0;
}

int
startup_start_python(const struct config *config)
{
    int status = math_library_load();

    status = status != 0 ? status : wsgi_python_start(config);
    return status != 0 ? status : startup_open_watch(config);
}
