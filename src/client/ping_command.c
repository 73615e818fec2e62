/*
 * ping_command.c - --ping: checks that the backend answers, and how fast
 */
#include "client/client.h"

#include "base/clock.h"
#include "client/client_response.h"
#include "client/fcgi_client.h"
#include "client/request_params.h"
#include "os/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <sysexits.h>

static int
ask_path(const struct config *config, struct connection *p)
{
    struct client_response answer;
    struct upload body;
    struct buf vars;
    int status;

    client_response_init(&answer);
    upload_init(&body);
    buf_init(&vars, 1 << 20);
    status = request_params_make(&vars, config, p->option, "GET",
                                 config->ping_path, -1);
    if (status == 0) {
        status = client_response_get(&answer, p, &vars, &body);
    }
    if (status == 0 && (answer.status < 200 || answer.status > 299)) {
        log_error("%s: %s: the answer to %s is %d %s; does the server have "
                  "the same --ping-path?",
                  p->option, p->address, config->ping_path, answer.status,
                  answer.reason);
        status = EX_UNAVAILABLE;
    }
    buf_fini(&vars);
    upload_fini(&body);
    client_response_fini(&answer);
    return status;
}

int
client_ping(const struct config *config)
{
    int64_t start_us = clock_us();
    struct connection peer;
    int status;

    connection_init(&peer, "--ping", config->address, config->client_timeout_ms,
                    false);
    status = connection_connect(&peer);
    if (status == 0 && config->ping_path != NULL) {
        status = ask_path(config, &peer);
    }
    else if (status == 0) {
        int e = fcgi_client_values(&peer);
        status = e < 0 ? connection_failed(&peer, e) : 0;
    }
    connection_close(&peer);
    if (status == 0) {
        int64_t us = clock_us() - start_us;
        (void)printf("pong from %s in %" PRId64 ".%03" PRId64 " ms\n",
                     config->address, us / 1000, us % 1000);
        (void)fflush(stdout);
    }
    return status;
}
