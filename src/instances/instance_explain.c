/*
 * instance_explain.c - whether a CGI request would be warm, and if not, why
 */
#include "instances/instance_explain.h"

#include "app/loader.h"
#include "os/fd.h"
#include "warm/warm_connect.h"
#include "warm/warm_name.h"
#include "warm/warm_sweep.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A module is only found by Python. */
static bool
check_script(const struct config *config, char why[WARM_WHY_SIZE])
{
    const char *app = config->app;

    if (app == NULL && config->scripts_in == NULL) {
        (void)snprintf(why, WARM_WHY_SIZE, "no application is given");
        return false;
    }
    if (app != NULL &&
        (strchr(app, '/') != NULL || loader_is_script_name(app)) &&
        access(app, F_OK) < 0) {
        (void)snprintf(why, WARM_WHY_SIZE, "%s: %s", app, strerror(errno));
        return false;
    }
    return true;
}

static void
explain_folder(const struct warm_folder *f, const struct warm_name *n,
               char to[INSTANCE_TEXT_SIZE])
{
    CLEANUP(fd_close)
    int fd = f->fd >= 0 && warm_sweep_is_there(f, n, WARM_SOCKET)
                 ? warm_connect_any(f, n)
                 : -ENOENT; /* not there yet, or finishing */
    struct sockaddr_un address;

    warm_name_address(f, n, WARM_SOCKET, &address);
    if (fd >= 0) {
        (void)snprintf(to, INSTANCE_TEXT_SIZE, "yes, instance %d on %s",
                       (int)warm_connect_pid(fd), address.sun_path);
    }
    else if (warm_connect_is_nobody(fd)) {
        (void)snprintf(to, INSTANCE_TEXT_SIZE,
                       "the first request starts an instance in %s", f->path);
    }
    else {
        (void)snprintf(to, INSTANCE_TEXT_SIZE, "no: %s: %s", address.sun_path,
                       strerror(-fd));
    }
}

void
instance_explain(const struct config *config, enum config_mode mode,
                 char **argv, char to[INSTANCE_TEXT_SIZE])
{
    struct warm_folder f = {.fd = -1};
    struct warm_name n;
    char why[WARM_WHY_SIZE];

    assert(config->keep_warm);
    if (mode == MODE_FASTCGI) {
        (void)snprintf(to, INSTANCE_TEXT_SIZE,
                       "no: this is FastCGI mode, which keeps the application "
                       "anyway");
    }
    else if (!check_script(config, why) || warm_folder_find(&f, why) < 0 ||
             warm_name_make(&n, config, argv, why) < 0) {
        (void)snprintf(to, INSTANCE_TEXT_SIZE, "no: %s", why);
    }
    else {
        explain_folder(&f, &n, to);
    }
    warm_folder_close(&f);
}
