/*
 * status.h - the status and ping pages: made from the scoreboard, without Python
 *
 * What:      HTML for people, ?text, ?json, ?openmetrics; &full lists processes
 *            and the requests in flight. php-fpm's field names where they mean
 *            the same.
 * Owner:     the caller owns the buffer.
 * Threads:   any.                                                GIL: not used.
 * Errors:    0 or -errno of the buffer.                          Blocks: never.
 */
#ifndef STATUS_STATUS_H
#define STATUS_STATUS_H

#include "base/buf.h"
#include "base/compiler.h"
#include "conf/config.h"
#include "gateway/params.h"
#include "gateway/request.h"
#include "status/scoreboard.h"

#include <stdbool.h>
#include <stddef.h>

/* True where the request's path is --status-path or --ping-path: that of
 * REQUEST_URI as it was sent, else SCRIPT_NAME + PATH_INFO. */
bool status_is_wanted(const struct config *config, const struct request *q);

/* Answers such a request. */
void status_answer(const struct config *config, struct scoreboard *b,
                   struct request *q);

/* The same question for one path. */
bool status_path_is(const struct params *p, const char *path);

/* What a request is answered with, whoever sends it. */
struct status_reply {
    const char *status, *type;
    const char *allow; /* the Allow header, or NULL */
    struct buf body;
};

/* The headers that every reply has besides its Content-Type. */
extern const struct status_header {
    const char *name, *value;
} status_headers[];
extern const size_t status_nheaders;

/* The ping page, else the status page; 405 where the method is not GET or HEAD.
 * own: how many threads of the board this keeps busy, 1 or (the control socket)
 * 0. 0 or -ENOMEM, -EMSGSIZE; status_reply_fini() in every case. */
CHECK_RESULT int status_reply_make(struct status_reply *r,
                                   const struct config *config,
                                   struct scoreboard *b, unsigned own,
                                   const struct params *p, bool is_ping);

/* What a request is told whose variables have this fault. 0 or -ENOMEM; status_reply_fini() in every case. */
CHECK_RESULT int status_reply_refuse(struct status_reply *r,
                                     enum params_fault fault);
void status_reply_fini(struct status_reply *r);

/* The page for a query string ("json", "openmetrics&full", ...; NULL: none): adds
 * the body to out, *ret_type is its Content-Type. */
CHECK_RESULT int status_page(const struct config *config, struct scoreboard *b,
                             unsigned own, const struct param *query,
                             struct buf *out, const char **ret_type);

#endif
