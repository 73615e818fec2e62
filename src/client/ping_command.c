/*
 * ping_command.c - --ping: does the backend answer, and how fast
 */
#include "client/client.h"
#include "client/client_response.h"
#include "client/fcgi_client.h"
#include "client/request_params.h"
#include "os/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <sysexits.h>
#include <time.h>

static int64_t
now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

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
        log_error("%s: %s: %s is answered with %d %s", p->option, p->address,
                  config->ping_path, answer.status, answer.reason);
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
    int64_t began_us = now_us();
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
        int64_t us = now_us() - began_us;
        (void)printf("pong from %s in %" PRId64 ".%03" PRId64 " ms\n",
                     config->address, us / 1000, us % 1000);
        (void)fflush(stdout);
    }
    return status;
}
