#include "proc/check.h"

#include "proc/handover.h"
#include "proc/notify.h"
#include "proc/prelude.h"
#include "proc/privs.h"
#include "proc/restart.h"
#include "wsgi/interp.h"
#include "wsgi/loader.h"

#include <stdio.h>

int
check_run(const struct config *config)
{
    static struct privs privs;
    int tell_fd = restart_check_fd();
    int status = privs_find(config, &privs);

    notify_hide();
    if (status == 0) {
        status = privs_drop(&privs);
    }
    if (status == 0) {
        status = prelude_prepare(config, false);
    }
    if (config->doctor) {
        return status; /* there is nothing to load */
    }
    if (status == 0 && (status = interp_start(config, loader_script())) == 0) {
        status = loader_load();
        if (status == 0) {
            (void)printf("wsgi-cgi: %s loads with Python %s\n",
                         config->app != NULL ? config->app : config->scripts_in,
                         interp_version());
            (void)fflush(stdout);
        }
        else {
            handover_tell(tell_fd);
        }
        interp_finish();
    }
    return status;
}
