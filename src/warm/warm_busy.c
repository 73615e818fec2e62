/*
 * warm_busy.c - whether an instance takes no more requests for now
 */
#include "warm/warm_busy.h"

#include "client/client_response.h"
#include "client/fcgi_client.h"
#include "client/request_params.h"
#include "warm/warm_connect.h"

#include <stdint.h>
#include <string.h>

enum { PAGE_MAX = 1 << 20, VARS_MAX = 4096 };

static int
keep(struct client_response *a, const char *bytes, size_t n)
{
    return buf_add(a->arg, bytes, n);
}

static int
ask(struct connection *p, struct buf *page)
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
    e = e == 0 ? request_params_add(&vars, "QUERY_STRING", "text", 4) : e;
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

/* "NAME:   0" in a line of its own. */
static bool
is_zero(const char *page, const char *name)
{
    const char *line = strstr(page, name);
    size_t n = strlen(name);

    if (line == NULL || line == page || line[-1] != '\n' || line[n] != ':') {
        return false;
    }
    line += n + 1;
    line += strspn(line, " ");
    return line[0] == '0' && line[1] == '\n';
}

enum warm_busy
warm_busy(const struct warm_folder *f, const struct warm_name *n)
{
    enum warm_busy state = WARM_IS_BUSY;
    struct connection peer;
    struct buf page;

    connection_init(&peer, "--keep-warm", "", WARM_BUSY_MS, false);
    buf_init(&page, PAGE_MAX);
    int fd = warm_connect(f, n, WARM_CONTROL);
    if (warm_connect_is_nobody(fd)) {
        state = WARM_IS_STARTING;
    }
    else if (fd >= 0) {
        peer.fd = fd;
        if (ask(&peer, &page) == 0 &&
            !(is_zero(page.data, "idle processes") &&
              is_zero(page.data, "starting processes"))) {
            state = WARM_TAKES_MORE;
        }
    }
    connection_close(&peer);
    buf_fini(&page);
    return state;
}
