/*
 * relay.h - --relay: passes a CGI request on to a FastCGI application
 *
 * What:      variables and body to the application, its response to the web
 *            server, both at the same time. The head of the response gets
 *            Status in its first line, or for a script named nph-* the status
 *            line of HTTP; a body where HTTP has none is dropped; all else is
 *            passed on as it is.
 * Owner:     cgi_run(), whose request this is.
 * Threads:   one.                                                GIL: not used.
 * Errors:    relay_run() logs nothing; relay_answer() logs a line, and answers
 *            502 or 503 where the web server has got nothing yet.
 * Blocks:    as long as the application takes for its response; to connect, up
 *            to 5 s.
 * Standards: RFC 3875; FastCGI 1.0.
 */
#ifndef CLIENT_RELAY_H
#define CLIENT_RELAY_H

#include "base/buf.h"
#include "base/compiler.h"
#include "client/connection.h"
#include "gateway/request.h"

#include <stdbool.h>
#include <stdint.h>

/* How far the request has come. */
enum relay_stage {
    RELAY_NOT_BEGUN,  /* the application has not got its head, or refused it */
    RELAY_UNANSWERED, /* it may have begun; the web server has got nothing */
    RELAY_IN_PART,    /* the web server has got a part of the response */
    RELAY_DONE        /* the response is complete */
};

struct relay_end {
    enum relay_stage stage;
    int err;                  /* 0 where the application has ended it */
    bool is_server_gone;      /* err is that of the response's descriptor */
    bool body_lost;           /* some of the body was read; without this, all of
                               * it can still be read from the request */
    int status;               /* of the response, and ... */
    uint64_t sent;            /* ... what the web server has got of its body */
    bool has_output;          /* it has got its head */
    bool is_logged;           /* the application has said why it broke off */
    unsigned protocol_status; /* FCGI_REQUEST_COMPLETE, ... */
    uint32_t app_status;
};

/* p is connected, and stays open. vars: all variables as FastCGI has them. */
void relay_run(struct request *q, struct connection *p, const struct buf *vars,
               struct relay_end *ret_end);

/* For cgi_run(), with its environment (char **) as the argument: connects to
 * --relay, and passes the request on. */
void relay_answer(void *environment, struct request *q);

#endif
