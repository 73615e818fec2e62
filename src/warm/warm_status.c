/*
 * warm_status.c - the status page of an instance
 */
#include "warm/warm_status.h"

#include "client/client_response.h"
#include "client/fcgi_client.h"
#include "client/request_params.h"
#include "text/num.h"

#include <string.h>

enum { VARS_MAX = 4096 };

static int
keep(struct client_response *a, const char *bytes, size_t n)
{
    return buf_add(a->arg, bytes, n);
}

static int
ask(struct connection *p, const char *query, struct buf *page)
{
    struct client_response answer;
    struct fcgi_client_end end;
    struct upload body;
    struct buf vars;

    client_response_init(&answer);
    answer.on_body = keep;
    answer.arg = page;
    upload_init(&body);
    buf_init(&vars, VARS_MAX);
    int e = request_params_add(&vars, "REQUEST_METHOD", "GET", 3);
    e = e == 0 ? request_params_add(&vars, "QUERY_STRING", query, strlen(query))
               : e;
    e = e == 0 ? request_params_add(&vars, "SCRIPT_NAME", "/status", 7) : e;
    e = e == 0 ? fcgi_client_request(p, &vars, &body, client_response_take,
                                     &answer, &end)
               : e;
    e = e == 0 ? buf_add(page, "", 1) : e;
    buf_fini(&vars);
    upload_fini(&body);
    client_response_fini(&answer);
    return e;
}

int
warm_status_get(int fd, const char *query, int64_t timeout_ms, struct buf *page)
{
    struct connection peer;

    connection_init(&peer, "", "", timeout_ms, false);
    peer.fd = fd;
    return ask(&peer, query, page);
}

const char *
warm_status_text(const char *page, const char *name, size_t *ret_length)
{
    size_t n = strlen(name);

    for (const char *line = page; line != NULL;) {
        if (strncmp(line, name, n) == 0 && line[n] == ':') {
            line += n + 1;
            line += strspn(line, " ");
            *ret_length = strcspn(line, "\n");
            return line;
        }
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
    return NULL;
}

bool
warm_status_number(const char *page, const char *name, uint64_t *ret)
{
    size_t n;
    const char *text = warm_status_text(page, name, &n);

    return text != NULL && num_parse(text, n, UINT64_MAX, ret) == 0;
}
