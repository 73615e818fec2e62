/*
 * status_command.c - --status: prints the status page of a backend
 */
#include "client/client.h"
#include "client/client_response.h"
#include "client/request_params.h"
#include "os/log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

/* A control socket answers every path. */
#define DEFAULT_PATH "/status"

enum { PAGE_MAX = 32 << 20 };

static int
keep(struct client_response *a, const char *bytes, size_t n)
{
    return buf_add(a->arg, bytes, n);
}

/* What to do where the address does not have the page. */
#define NEEDS                                                                 \
    "; the server needs --status-path %s, or --control ADDR, where any path " \
    "is the status page"

/* How the page begins in status/status_text.c and status/status_json.c. */
struct form {
    const char *query, *type, *start;
};

static const struct form *
form_of(const struct config *config)
{
    static const struct form text = {"text", "text/plain", "pool:"};
    static const struct form json = {"json", "application/json", "{\"pool\":"};

    return config->json ? &json : &text;
}

static bool
begins_with(const struct buf *page, const char *start)
{
    size_t n = strlen(start);

    return page->len >= n && memcmp(page->data, start, n) == 0;
}

/* The answer may come from an application, which may answer 200 to any path. */
static int
check(const struct client_response *a, const struct connection *p,
      const char *path, const struct form *form)
{
    const char *have = client_response_header(a, "Content-Type");
    const char *type = form->type;

    if (a->status != 200) {
        log_error("%s: %s: the answer to %s is %d %s" NEEDS, p->option,
                  p->address, path, a->status, a->reason, path);
        return EX_UNAVAILABLE;
    }
    if (have == NULL || strncasecmp(have, type, strlen(type)) != 0) {
        log_error("%s: %s: %s is not a status page: its type is %s, not "
                  "%s" NEEDS,
                  p->option, p->address, path, have == NULL ? "missing" : have,
                  type, path);
        return EX_UNAVAILABLE;
    }
    const struct buf *page = a->arg;
    if (page->len == 0) {
        log_error("%s: %s: %s is not a status page: it is empty" NEEDS,
                  p->option, p->address, path, path);
        return EX_UNAVAILABLE;
    }
    if (!begins_with(page, form->start)) {
        log_error("%s: %s: %s is not a status page: it does not begin with "
                  "%s" NEEDS,
                  p->option, p->address, path, form->start, path);
        return EX_UNAVAILABLE;
    }
    return 0;
}

static int
show(const struct buf *page)
{
    if (fwrite(page->data, 1, page->len, stdout) != page->len ||
        fflush(stdout) != 0) {
        log_error("--status: cannot write the answer: %s", strerror(errno));
        return EX_IOERR;
    }
    return 0;
}

static int
ask(const struct config *config, struct connection *p,
    struct client_response *answer, struct buf *vars)
{
    const char *path =
        config->status_path != NULL ? config->status_path : DEFAULT_PATH;
    const struct form *form = form_of(config);
    struct buf uri;
    struct upload body;
    int status;

    upload_init(&body);
    buf_init(&uri, 64 << 10);
    if (buf_printf(&uri, "%s?%s&full", path, form->query) < 0 ||
        buf_add(&uri, "", 1) < 0) {
        log_error("--status: out of memory");
        status = EX_OSERR;
    }
    else {
        status =
            request_params_make(vars, config, p->option, "GET", uri.data, -1);
    }
    if (status == 0) {
        status = client_response_get(answer, p, vars, &body);
    }
    if (status == 0) {
        status = check(answer, p, path, form);
    }
    buf_fini(&uri);
    upload_fini(&body);
    return status;
}

int
client_status(const struct config *config)
{
    struct client_response answer;
    struct connection peer;
    struct buf page, vars;
    int status;

    client_response_init(&answer);
    buf_init(&page, PAGE_MAX);
    buf_init(&vars, 1 << 20);
    answer.on_body = keep;
    answer.arg = &page;
    connection_init(&peer, "--status", config->address,
                    config->client_timeout_ms, false);
    status = connection_connect(&peer);
    if (status == 0) {
        status = ask(config, &peer, &answer, &vars);
    }
    if (status == 0) {
        status = show(&page);
    }
    connection_close(&peer);
    buf_fini(&vars);
    buf_fini(&page);
    client_response_fini(&answer);
    return status;
}
