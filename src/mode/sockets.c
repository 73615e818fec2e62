#include "mode/sockets.h"

#include "os/fd.h"
#include "os/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

static int
read_allow(struct sockets *s, const struct config *config)
{
    const char *env = getenv("FCGI_WEB_SERVER_ADDRS");
    char *list, *word, *rest;
    int e = 0;

    for (size_t i = 0; i < config->allow.n; i++) {
        if (acl_add(&s->allow, config->allow.v[i]) < 0) {
            log_error("--allow: invalid value \"%s\": expected " CONFIG_PEERS,
                      config->allow.v[i]);
            return EX_USAGE;
        }
    }
    if (env == NULL || config->allow.n > 0) {
        return 0;
    }
    rest = list = strdup(env);
    while (e == 0 && (word = strsep(&rest, ", \t")) != NULL) {
        if (*word != '\0' && acl_add(&s->allow, word) < 0) {
            log_error("FCGI_WEB_SERVER_ADDRS: invalid value \"%s\": "
                      "expected " CONFIG_PEERS,
                      word);
            e = EX_USAGE;
        }
    }
    s->allow.tcp_only = s->allow.n > 0;
    free(list);
    return e;
}

static int
adopt(struct sockets *s, int fd)
{
    if (s->n == RESTART_LISTENERS_MAX) {
        log_error("more than %d listening sockets", RESTART_LISTENERS_MAX);
        return EX_USAGE;
    }
    int e = listener_adopt(&s->v[s->n], fd);
    s->n += e == 0;
    return e;
}

/* After a restart, the sockets are already open. */
static int
open_inherited(struct sockets *s, const struct config *config,
               const struct restart_fds *from)
{
    int e = 0;

    assert(s->n + from->nlisteners <= RESTART_LISTENERS_MAX);
    for (size_t i = 0; e == 0 && i < from->nlisteners; i++) {
        const char *address = i < config->bind.n ? config->bind.v[i] : NULL;
        e = listener_inherit(&s->v[s->n], from->listeners[i], address,
                             &from->files[i]);
        s->n += e == 0;
    }
    return e;
}

/* Nobody else accepts on it, and nobody else removes it. */
static int
take_warm(struct sockets *s)
{
    int e = listener_take_over(&s->v[0], STDIN_FILENO);

    s->n = e == 0;
    return e;
}

int
sockets_open(struct sockets *s, const struct config *config,
             const struct start_mode *start,
             const struct restart_fds *inherited)
{
    int e = read_allow(s, config);

    if (inherited->nlisteners > 0) {
        return e != 0 ? e : open_inherited(s, config, inherited);
    }
    if (config->is_warm) {
        return e != 0 ? e : take_warm(s);
    }
    for (size_t i = 0; e == 0 && i < config->bind.n; i++) {
        if (s->n == RESTART_LISTENERS_MAX) {
            log_error("--bind: more than %d sockets", RESTART_LISTENERS_MAX);
            return EX_USAGE;
        }
        e = listener_bind(&s->v[s->n], "--bind", config->bind.v[i], config,
                          &s->allow);
        s->n += e == 0;
    }
    if (e != 0 || config->bind.n > 0) {
        return e;
    }
    for (int i = 0; e == 0 && i < start->inherited; i++) {
        int fd = START_MODE_INHERITED + i;
        e = adopt(s, fd);
        fd_close(&fd);
    }
    if (e == 0 && start->inherited == 0) {
        if (!start->fd0_listens) {
            log_error("--mode=fastcgi needs a listening socket: as descriptor "
                      "0, from LISTEN_FDS, or from --bind");
            return EX_USAGE;
        }
        e = adopt(s, STDIN_FILENO);
    }
    return e;
}

void
sockets_close(struct sockets *s)
{
    while (s->n > 0) {
        listener_close(&s->v[--s->n], true);
    }
}

void
sockets_fini(struct sockets *s)
{
    acl_fini(&s->allow);
}
