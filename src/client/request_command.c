/*
 * request_command.c - --request: sends a request, and prints the response
 *
 * The lines of the head come first, with the status at the front, then the body
 * as it arrives. Bytes of FCGI_STDERR go to stderr.
 */
#include "client/client.h"
#include "client/client_response.h"
#include "client/request_params.h"
#include "os/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

static int
write_result(void)
{
    return ferror(stdout) ? -(errno != 0 ? errno : EIO) : 0;
}

static int
show_head(struct client_response *a)
{
    (void)printf("Status: %d%s%s\n", a->status, a->reason[0] != '\0' ? " " : "",
                 a->reason);
    for (size_t at = 0; at < a->head.len; at += strlen(a->head.data + at) + 1) {
        if (strncasecmp(a->head.data + at, "Status:", 7) != 0) {
            (void)printf("%s\n", a->head.data + at);
        }
    }
    (void)printf("\n");
    (void)fflush(stdout);
    return write_result();
}

static int
show_body(struct client_response *a UNUSED, const char *bytes, size_t n)
{
    (void)fwrite(bytes, 1, n, stdout);
    (void)fflush(stdout);
    return write_result();
}

static int
show_errors(struct client_response *a UNUSED, const char *bytes, size_t n)
{
    log_raw(bytes, n);
    return 0;
}

static int
open_body(const struct config *config, struct upload *body)
{
    int e = config->data_file == NULL ? 0
                                      : upload_open(body, config->data_file,
                                                    config->client_timeout_ms);

    if (e < 0) {
        log_error("--data-file: %s: %s", config->data_file,
                  e == -ETIMEDOUT ? "no data within --timeout" : strerror(-e));
        return EX_NOINPUT;
    }
    return 0;
}

static int
ask(const struct config *config, struct upload *body, struct buf *vars,
    struct client_response *answer)
{
    struct connection peer;
    int64_t length = config->data_file == NULL ? -1 : (int64_t)body->left;
    int status = request_params_make(vars, config, "--request", config->method,
                                     config->path, length);

    if (status != 0) {
        return status;
    }
    connection_init(&peer, "--request", config->address,
                    config->client_timeout_ms, true);
    status = connection_connect(&peer);
    if (status == 0) {
        status = client_response_get(answer, &peer, vars, body);
    }
    connection_close(&peer);
    if (status == 0 && (answer->status < 200 || answer->status > 399)) {
        status = 1;
    }
    return status;
}

int
client_request(const struct config *config)
{
    struct client_response answer;
    struct upload body;
    struct buf vars;
    int status;

    client_response_init(&answer);
    answer.on_head = show_head;
    answer.on_body = show_body;
    answer.on_errors = show_errors;
    upload_init(&body);
    buf_init(&vars, 1 << 20);
    status = open_body(config, &body);
    if (status == 0) {
        status = ask(config, &body, &vars, &answer);
    }
    buf_fini(&vars);
    upload_fini(&body);
    client_response_fini(&answer);
    return status;
}
