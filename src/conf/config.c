/*
 * config.c - the name of what is served; frees the configuration
 */
#include "conf/config.h"
#include "conf/value.h"

#include <stdlib.h>

static void
free_list(struct config_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free(list->v[i]);
    }
    free(list->v);
    *list = (struct config_list){0};
}

const char *
config_application(const struct config *c)
{
    return c->doctor               ? "--doctor"
           : c->app != NULL        ? c->app
           : c->scripts_in != NULL ? c->scripts_in
                                   : "(no application)";
}

/* Every string is a copy that the config owns. */
void
config_fini(struct config *c)
{
    value_drop(&c->app);
    value_drop(&c->ignored);
    value_drop(&c->callable);
    value_drop(&c->venv);
    value_drop(&c->chdir);
    value_drop(&c->mount);
    value_drop(&c->scripts_in);
    value_drop(&c->relay);
    value_drop(&c->socket_owner);
    value_drop(&c->user);
    value_drop(&c->group);
    value_drop(&c->pid_file);
    value_drop(&c->status_path);
    value_drop(&c->ping_path);
    value_drop(&c->control);
    value_drop(&c->log_file);
    value_drop(&c->access_log);
    value_drop(&c->slow_log);
    value_drop(&c->address);
    value_drop(&c->method);
    value_drop(&c->path);
    value_drop(&c->data_file);
    value_drop(&c->x_sendfile);
    free_list(&c->x_sendfile_urls);
    free_list(&c->x_sendfile_dirs);
    free_list(&c->headers);
    free_list(&c->python_path);
    free_list(&c->set);
    free_list(&c->env);
    free_list(&c->bind);
    free_list(&c->touch_reload);
    free_list(&c->allow);
}
