/*
 * status.h - the status and ping pages, from the scoreboard, without Python
 *
 * What:      HTML for people, ?text, ?json, ?openmetrics; &full lists processes
 *            and running requests. Fields that php-fpm also has have its names.
 * Owner:     the caller owns the buffer.
 * Lifetime:  one request.
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

/* True if the request's path is --status-path or --ping-path. The path is that
 * of REQUEST_URI, not decoded, or else SCRIPT_NAME and PATH_INFO together. */
bool status_is_wanted(const struct config *config, const struct request *q);

/* What the page tells of; the listeners are those that serve requests. */
struct status_source {
    const struct config *config;
    struct scoreboard *board;
    const struct listener *listeners;
    size_t nlisteners;
};

/* Answers a request for which status_is_wanted(). */
void status_answer(const struct status_source *from, struct request *q);

/* The response to a request, for the control socket and for --status-path. */
struct status_reply {
    const char *status, *type;
    const char *allow; /* the Allow header, or NULL */
    struct buf body;
};

/* The headers that every reply has in addition to its Content-Type. */
extern const struct status_header {
    const char *name, *value;
} status_headers[];
extern const size_t status_nheaders;

/* The ping page or the status page; 405 if the method is not GET or HEAD. own:
 * how many threads of the board this request keeps busy, which is 1, or 0 on
 * the control socket. Returns 0, -ENOMEM or -EMSGSIZE; call status_reply_fini()
 * in every case. */
CHECK_RESULT int status_reply_make(struct status_reply *r,
                                   const struct status_source *from,
                                   unsigned own, const struct params *p,
                                   bool is_ping);

/* The reply to a request whose variables have this fault. Returns 0 or -ENOMEM;
 * call status_reply_fini() in every case. */
CHECK_RESULT int status_reply_refuse(struct status_reply *r,
                                     enum params_fault fault);
void status_reply_fini(struct status_reply *r);

/* Adds the page for a query string ("json", "openmetrics&full", ...; NULL:
 * none) to out; *ret_type is its Content-Type. */
CHECK_RESULT int status_page(const struct status_source *from, unsigned own,
                             const struct param *query, struct buf *out,
                             const char **ret_type);

#endif
