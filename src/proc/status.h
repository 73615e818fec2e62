/*
 * status.h - the status and ping pages: made from the scoreboard, without Python
 *
 * What:      HTML for people, ?json, ?openmetrics; &full lists the requests in
 *            flight. php-fpm's field names where they mean the same.
 * Owner:     the caller owns the buffer.
 * Threads:   any.                                                GIL: not used.
 * Errors:    0 or -errno of the buffer.                          Blocks: never.
 */
#ifndef PROC_STATUS_H
#define PROC_STATUS_H

#include "base/buf.h"
#include "base/compiler.h"
#include "conf/config.h"
#include "proc/scoreboard.h"

#include <stdbool.h>
#include <stddef.h>

/* True where the request's path (SCRIPT_NAME + PATH_INFO as sent, or PATH_INFO)
 * is --status-path or --ping-path. */
bool status_is_wanted(const struct config *config, const struct request *q);

/* Answers such a request. */
void status_answer(const struct config *config, struct scoreboard *b,
                   struct request *q);

/* The page for a query string ("", "json", "openmetrics&full", ...): adds the
 * body to out, *ret_type is its Content-Type. */
CHECK_RESULT int status_page(const struct config *config, struct scoreboard *b,
                             const char *query, size_t nquery, struct buf *out,
                             const char **ret_type);

#endif
