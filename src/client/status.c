/*
 * status.c - --status: the status page of a backend, or of its control socket
 */
#include "client/answer.h"
#include "client/client.h"
#include "client/vars.h"
#include "os/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

/* Any path will do for a control socket. */
#define PRESET_PATH "/status"

enum { PAGE_MAX = 32 << 20 };

static int
keep(struct answer *a, const char *bytes, size_t n)
{
    return buf_add(a->arg, bytes, n);
}

/* An application that knows no status page may answer 200 to everything. */
static int
check(const struct answer *a, const struct peer *p, const char *path,
      const char *type)
{
    const char *have = answer_header(a, "Content-Type");

    if (a->status != 200) {
        log_error("%s: %s: %s is answered with %d %s", p->option, p->address,
                  path, a->status, a->reason);
        return EX_UNAVAILABLE;
    }
    if (have == NULL || strncasecmp(have, type, strlen(type)) != 0) {
        log_error("%s: %s: %s is no status page: it is %s, not %s", p->option,
                  p->address, path, have == NULL ? "of no type" : have, type);
        return EX_UNAVAILABLE;
    }
    const struct buf *page = a->arg;
    if (page->len == 0) {
        log_error("%s: %s: %s is no status page: it is empty", p->option,
                  p->address, path);
        return EX_UNAVAILABLE;
    }
    return 0;
}

static int
show(const struct buf *page)
{
    if (fwrite(page->data, 1, page->len, stdout) != page->len ||
        fflush(stdout) != 0) {
        log_error("--status: writing the answer: %s", strerror(errno));
        return EX_IOERR;
    }
    return 0;
}

static int
ask(const struct config *config, struct peer *p, struct answer *answer,
    struct buf *vars)
{
    const char *path =
        config->status_path != NULL ? config->status_path : PRESET_PATH;
    struct buf uri;
    struct body body;
    int status;

    body_init(&body);
    buf_init(&uri, 64 << 10);
    if (buf_printf(&uri, "%s?%s&full", path, config->json ? "json" : "text") <
            0 ||
        buf_add(&uri, "", 1) < 0) {
        log_error("--status: out of memory");
        status = EX_OSERR;
    }
    else {
        status = vars_make(vars, config, p->option, "GET", uri.data, -1);
    }
    if (status == 0) {
        status = answer_get(answer, p, vars, &body);
    }
    if (status == 0) {
        status = check(answer, p, path,
                       config->json ? "application/json" : "text/plain");
    }
    buf_fini(&uri);
    body_fini(&body);
    return status;
}

int
client_status(const struct config *config)
{
    struct answer answer;
    struct peer peer;
    struct buf page, vars;
    int status;

    answer_init(&answer);
    buf_init(&page, PAGE_MAX);
    buf_init(&vars, 1 << 20);
    answer.on_body = keep;
    answer.arg = &page;
    peer_init(&peer, "--status", config->address, config->client_timeout_ms,
              false);
    status = peer_connect(&peer);
    if (status == 0) {
        status = ask(config, &peer, &answer, &vars);
    }
    if (status == 0) {
        status = show(&page);
    }
    peer_close(&peer);
    buf_fini(&vars);
    buf_fini(&page);
    answer_fini(&answer);
    return status;
}
