/*
 * request_id.h - what a request is called in logs
 *
 * What:      the web server's own id if it is fit for a log, else a new one,
 *            which no other request has. It is no secret: do not use it as one.
 * Owner:     a struct request_ids for each thread.
 * Threads:   one at a time.                                      GIL: not used.
 * Errors:    none.                                               Blocks: never.
 */
#ifndef GATEWAY_REQUEST_ID_H
#define GATEWAY_REQUEST_ID_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>

/* The longest id of a server; ours are shorter. */
#define REQUEST_ID_MAX 64
#define REQUEST_ID_MADE 12

/* The source of ids; all 0 at first. */
struct request_ids {
    char text[REQUEST_ID_MADE];
    unsigned char digit[REQUEST_ID_MADE]; /* the same as numbers */
};

/* A new one, terminated. */
void request_id_make(struct request_ids *s, char to[REQUEST_ID_MAX + 1]);

/* True where n bytes of s can be an id: 1 to 64 letters, digits, "-", "_". */
bool request_id_is_good(const char *s, size_t n);

#endif
