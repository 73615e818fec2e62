/*
 * relay_command.c - --relay: the connection, and what is said where it fails
 */
#include "client/relay.h"

#include "client/fcgi_records.h"
#include "client/request_params.h"
#include "gateway/response.h"
#include "os/log.h"

#include <assert.h>
#include <errno.h>
#include <fastcgi.h>
#include <string.h>

enum { EXIT_CODE_MAX = 255 };

/* A page, where the web server has got nothing yet. The log has a line. */
static void
answer(struct request *q, const char *status, const char *sentence)
{
    response_error(q, status, sentence, request_id(q));
}

static void
answer_unavailable(struct request *q)
{
    answer(q, "503 Service Unavailable",
           "The application does not take requests. The server's log says "
           "why.");
}

static void
answer_bad_gateway(struct request *q)
{
    answer(q, "502 Bad Gateway",
           "The application did not answer. The server's log says why.");
}

static void
log_no_response(const struct connection *p)
{
    log_error("%s: %s: the answer is not a CGI response", p->option,
              p->address);
}

static void
note_done(struct request *q, const struct connection *p,
          const struct relay_end *end)
{
    if (!end->has_output) {
        log_no_response(p);
        answer_bad_gateway(q);
        return;
    }
    response_note_relayed(q, end->status, end->sent, true);
    q->exit_status =
        end->app_status > EXIT_CODE_MAX ? EXIT_CODE_MAX : (int)end->app_status;
}

/* The same lines as without a relay. */
static void
note_server_gone(struct request *q, const struct relay_end *end)
{
    assert(end->err < 0);
    if (response_is_peer_error(end->err)) {
        request_log(q, LOG_LEVEL_INFO, "the client went away");
    }
    else {
        request_log(q, LOG_LEVEL_ERROR, "the response cannot be written: %s",
                    strerror(-end->err));
    }
    response_note_relayed(q, end->status, end->sent, false);
    response_client_gone(q);
}

static void
log_end(const struct connection *p, const struct relay_end *end)
{
    if (end->err == -EBADMSG) {
        log_no_response(p);
    }
    else if (end->err < 0) {
        connection_log(p, end->err);
    }
    else {
        log_error("%s: %s: %s", p->option, p->address,
                  fcgi_records_refusal(end->protocol_status));
    }
}

void
relay_finish(struct request *q, const struct connection *p,
             const struct relay_end *end)
{
    if (end->is_server_gone) {
        note_server_gone(q, end);
        return;
    }
    if (end->stage == RELAY_DONE) {
        note_done(q, p, end);
        return;
    }
    if (!end->is_logged) {
        log_end(p, end);
    }
    switch (end->stage) {
    case RELAY_NOT_BEGUN:
        answer_unavailable(q);
        break;
    case RELAY_UNANSWERED:
        answer_bad_gateway(q);
        break;
    case RELAY_IN_PART:
    case RELAY_DONE:
        response_note_relayed(q, end->status, end->sent, false);
        response_abort(q);
        break;
    }
}

int
relay_prepare(struct request *q, char *const *environment, struct buf *vars)
{
    int64_t length = -1;

    /* Many applications read no more than CONTENT_LENGTH says. */
    if (q->is_unsized) {
        if (request_take_body(q) != 0) {
            return -EIO;
        }
        q->is_unsized = false; /* this process may have to serve it */
        length = q->content_length;
    }
    return request_params_from_environment(vars, q->config, environment,
                                           length);
}

void
relay_answer(void *environment, struct request *q)
{
    const struct config *config = q->config;
    struct connection peer;
    struct relay_end end;
    struct buf vars;

    buf_init(&vars, RELAY_VARS_MAX);
    int e = relay_prepare(q, environment, &vars);
    if (e == -EIO) {
        buf_fini(&vars);
        return;
    }
    connection_init(&peer, "--relay", config->relay, config->client_timeout_ms,
                    false);
    if (e < 0) {
        log_error("--relay: cannot build the request: %s", strerror(-e));
        answer(q, "500 Internal Server Error",
               "The request could not be passed on. The server's log says "
               "why.");
    }
    else if (connection_connect(&peer) != 0) {
        answer_unavailable(q);
    }
    else {
        relay_run(q, &peer, &vars, NULL, &end);
        connection_close(&peer);
        relay_finish(q, &peer, &end);
    }
    connection_close(&peer);
    buf_fini(&vars);
}
