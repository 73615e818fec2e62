#include "mode/check.h"

#include "app/loader.h"
#include "base/clock.h"
#include "debug/slow_load.h"
#include "instances/instance_explain.h"
#include "mode/script_check.h"
#include "mode/start_mode.h"
#include "mode/startup.h"
#include "process/finalize_timeout.h"
#include "process/privs.h"
#include "process/process_title.h"
#include "process/signals.h"
#include "python/interp.h"
#include "reload/reload_pipe.h"
#include "reload/restart.h"
#include "status/notify.h"
#include "wsgi/wsgi_python.h"

#include <stdio.h>

extern char **environ;

/* warm: what to say of --keep-warm, or "". */
static int
load(const struct config *config, int tell_fd, const char *warm)
{
    slow_load_begin(config_application(config));
    int status = loader_load();
    slow_load_end();

    if (status == 0) {
        (void)printf("wsgi-cgi: %s loads with Python %s\n",
                     config->app != NULL ? config->app : config->scripts_in,
                     interp_version());
        if (warm[0] != '\0') {
            (void)printf("wsgi-cgi: warm: %s\n", warm);
        }
        (void)fflush(stdout);
        reload_pipe_tell_loads(tell_fd);
    }
    else {
        reload_pipe_tell(tell_fd);
    }
    if (tell_fd < 0 && loader_script() != NULL) {
        /* Only the administrator needs to know. */
        script_check(loader_script(), config->is_shebang);
    }
    finalize_timeout_begin(clock_ms() + FINALIZE_TIMEOUT_UNSERVED_MS, status,
                           NULL, NULL);
    interp_finish_without_threads();
    finalize_timeout_end();
    return status;
}

int
check_run(const struct config *config, enum config_mode mode, char **argv)
{
    static struct privs privs;
    char warm[INSTANCE_TEXT_SIZE] = "";
    int tell_fd = restart_check_fd();
    int status = tell_fd < 0 ? start_mode_check_words(NULL, config) : 0;

    if (tell_fd >= 0) {
        signals_spare();
        /* Its command line is that of the process that it checks for. */
        process_title_open(argv, environ, config_application(config));
        process_title_set("check");
    }
    notify_hide();
    if (status == 0) {
        status = privs_find(config, &privs);
    }
    if (status == 0) {
        status = privs_drop(&privs);
    }
    if (status == 0 && tell_fd < 0 && config->keep_warm) {
        instance_explain(config, mode, argv, warm); /* before --chdir */
    }
    if (status == 0) {
        status = startup_prepare(config, false);
    }
    if (config->doctor) {
        return status; /* there is nothing to load */
    }
    if (status == 0) {
        restart_check_bind(tell_fd);
        status = wsgi_python_start(config);
    }
    return status != 0 ? status : load(config, tell_fd, warm);
}
