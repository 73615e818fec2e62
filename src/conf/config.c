/*
 * config.c - what the command line asked for: giving it back
 */
#include "conf/config.h"

#include <stdlib.h>

/* Every string of a config is its own copy; they are const for the readers. */
static void
free_string(const char **s)
{
    union {
        const char *constant;
        char *own;
    } u = {.constant = *s};
    free(u.own);
    *s = NULL;
}

static void
free_list(struct config_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free(list->v[i]);
    }
    free(list->v);
    *list = (struct config_list){0};
}

void
config_fini(struct config *c)
{
    free_string(&c->app);
    free_string(&c->callable);
    free_string(&c->venv);
    free_string(&c->chdir);
    free_string(&c->mount);
    free_string(&c->scripts_in);
    free_string(&c->socket_owner);
    free_list(&c->python_path);
    free_list(&c->set);
    free_list(&c->bind);
    free_list(&c->allow);
}
