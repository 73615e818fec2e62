/*
 * client_response.h - the response of a backend, taken apart: head and body
 *
 * What:      one request and its response; the head is collected, the body goes
 *            on to whoever wants it.
 * Owner:     a client_*() function.
 * Lifetime:  client_response_init() to client_response_fini(); head is whole before the first byte
 *            of the body is handed on.
 * Threads:   one.                                                GIL: not used.
 * Errors:    0; EX_UNAVAILABLE, EX_NOINPUT or EX_IOERR after a log line.
 * Blocks:    until the peer's deadline.
 * Standards: RFC 3875, 6.2, 6.3.
 */
#ifndef CLIENT_CLIENT_RESPONSE_H
#define CLIENT_CLIENT_RESPONSE_H

#include "base/buf.h"
#include "base/compiler.h"
#include "client/connection.h"
#include "client/upload.h"

#include <stdbool.h>
#include <stddef.h>

struct client_response {
    struct buf head; /* lines without their ends, each terminated by a NUL */
    bool has_head;
    int status;         /* 200 where the head has none, 302 for a Location */
    const char *reason; /* in head, or "" */
    /* What the caller wants, each may be NULL: the head is whole; bytes of the
     * body; bytes of FCGI_STDERR. 0 or -errno, which ends the exchange. */
    int (*on_head)(struct client_response *a);
    int (*on_body)(struct client_response *a, const char *bytes, size_t n);
    int (*on_errors)(struct client_response *a, const char *bytes, size_t n);
    void *arg;
    bool sink_failed; /* one of these has returned an error */
};

void client_response_init(struct client_response *a);
void client_response_fini(struct client_response *a);

/* Sends the request and takes the whole response. */
CHECK_RESULT int client_response_get(struct client_response *a,
                                     struct connection *p,
                                     const struct buf *vars,
                                     struct upload *body);

/* The value of a header, NULL where it is not there. */
const char *client_response_header(const struct client_response *a,
                                   const char *name);

#endif
