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

enum {
    RELAY_VARS_MAX = 16 << 20 /* the kernel passes no larger environment on */
};

/* How far the request has come. */
enum relay_stage {
    RELAY_NOT_BEGUN,  /* the application has not got its head, or refused it */
    RELAY_UNANSWERED, /* it may have begun; the web server has got nothing */
    RELAY_IN_PART,    /* the web server has got a part of the response */
    RELAY_DONE        /* the response is complete */
};

/* When to give up on an application that has not read the request. */
struct relay_patience {
    int64_t ms; /* asks is_busy() so often; 0 = waits for ever */
    bool (*is_busy)(void *arg);
    void *arg;
};

struct relay_end {
    enum relay_stage stage;
    int err;                  /* 0 where the application has ended it */
    bool is_server_gone;      /* err is that of the response's descriptor */
    bool body_begun;          /* some of the body was sent, or may have been */
    bool body_lost;           /* some of the body was read; without this, all of
                               * it can still be read from the request */
    int status;               /* of the response, and ... */
    uint64_t sent;            /* ... what the web server has got of its body */
    bool has_output;          /* it has got its head */
    bool is_logged;           /* the application has said why it broke off */
    unsigned protocol_status; /* FCGI_REQUEST_COMPLETE, ... */
    uint32_t app_status;
};

/* p is connected, and stays open. vars: all variables as FastCGI has them.
 * patience is only for an instance of this program on this machine, since it
 * knows what such a one reads at once. Where it ends, err is -ETIME, the request
 * has not begun and does not begin any more. NULL = waits for ever. */
void relay_run(struct request *q, struct connection *p, const struct buf *vars,
               const struct relay_patience *patience,
               struct relay_end *ret_end);

/* True for GET and HEAD: where nothing of the body was sent, it does no harm if
 * the application gets the request twice. */
bool relay_may_repeat(const struct request *q);

/* Says in the log and to the client how it has ended. p is for the log. */
void relay_finish(struct request *q, const struct connection *p,
                  const struct relay_end *end);

/* The variables of q, and its body, if its length is not known, as they have to
 * be for relay_run(). 0, -EIO where q has been answered, or -errno. */
CHECK_RESULT int relay_prepare(struct request *q, char *const *environment,
                               struct buf *vars);

/* For cgi_run(), with its environment (char **) as the argument: connects to
 * --relay, and passes the request on. */
void relay_answer(void *environment, struct request *q);

#endif
