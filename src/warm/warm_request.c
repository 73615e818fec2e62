/*
 * warm_request.c - --keep-warm: an instance serves a CGI request
 */
#include "warm/warm_request.h"

#include "client/relay.h"
#include "client/request_params.h"
#include "os/fd.h"
#include "warm/warm_busy.h"
#include "warm/warm_name.h"
#include "warm/warm_start.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A request that has waited so long for a worker is served here, if no worker
 * is going to be free. */
enum {
    PATIENCE_MS = 250,
    /* An instance that has no worker yet gets so many of these: on a busy
     * machine many first requests wait for it, and must not all start Python. */
    START_LOOKS = 12
};

struct instance {
    struct warm_folder folder;
    struct warm_name name;
    unsigned looks; /* is_busy() was called so often */
};

static bool
is_busy(void *arg)
{
    struct instance *i = arg;

    switch (warm_busy(&i->folder, &i->name)) {
    case WARM_IS_BUSY:
        return true;
    case WARM_IS_STARTING:
        return ++i->looks > START_LOOKS;
    case WARM_TAKES_MORE:
        break;
    }
    return false;
}

static bool
may_serve_here(const struct request *q, const struct relay_end *end)
{
    return end->stage == RELAY_NOT_BEGUN
               ? !end->body_lost
               : end->stage == RELAY_UNANSWERED && !end->body_begun &&
                     relay_may_repeat(q);
}

static void
explain(const struct relay_end *end, char *why)
{
    const char *reason = end->err == -ETIME
                             ? "all workers of the instance are busy"
                         : end->err == -ECONNRESET || end->err == -ENODATA
                             ? "the instance ended before it answered"
                         : end->err < 0 ? strerror(-end->err)
                                        : "the instance refused the request";

    (void)snprintf(why, WARM_WHY_SIZE, "%s", reason);
}

/* fd is connected to the instance. */
static bool
pass_on(struct request *q, struct instance *i, int fd, const struct buf *vars,
        char *why)
{
    const struct relay_patience patience = {PATIENCE_MS, is_busy, i};
    struct connection peer;
    struct relay_end end;

    connection_init(&peer, "--keep-warm", "the instance", 0, false);
    peer.fd = fd;
    relay_run(q, &peer, vars, &patience, &end);
    connection_close(&peer);
    if (may_serve_here(q, &end)) {
        explain(&end, why);
        return false;
    }
    relay_finish(q, &peer, &end);
    return true;
}

/* The lines of both processes about the request have the same id. */
static int
add_id(struct request *q, struct buf *vars)
{
    const char *id = request_id(q);

    return request_params_add(vars, CONFIG_REQUEST_ID, id, strlen(id));
}

static bool
serve(struct request *q, struct instance *i, char **argv,
      char *const *environment, char *why)
{
    struct buf vars;
    bool is_done = false;
    int e = warm_name_make(&i->name, q->config, argv, why);
    int fd = e < 0 ? e
                   : warm_start(&i->folder, &i->name, q->config, argv,
                                environment, why);

    if (fd < 0) {
        return false;
    }
    buf_init(&vars, RELAY_VARS_MAX);
    e = relay_prepare(q, environment, &vars);
    e = e == 0 ? add_id(q, &vars) : e;
    if (e == 0) {
        is_done = pass_on(q, i, fd, &vars, why);
    }
    else {
        is_done = e == -EIO;
        (void)snprintf(why, WARM_WHY_SIZE, "%s", strerror(-e));
        fd_close(&fd);
    }
    buf_fini(&vars);
    return is_done;
}

bool
warm_request(struct request *q, char **argv, char *const *environment,
             char why[WARM_WHY_SIZE])
{
    struct instance i = {.looks = 0};

    if (warm_folder_open(&i.folder, why) < 0) {
        return false;
    }
    bool is_done = serve(q, &i, argv, environment, why);
    warm_folder_close(&i.folder);
    return is_done;
}
