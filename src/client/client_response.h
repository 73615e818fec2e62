/*
 * client_response.h - reads the response of a backend: head and body
 *
 * What:      sends one request; collects the head of the response, and passes
 *            the body to a callback.
 * Owner:     a client_*() function.
 * Lifetime:  client_response_init() to client_response_fini(). The head is
 *            complete before the callbacks get the first byte of the body.
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
    struct buf head; /* the lines, each with a NUL instead of its end */
    bool has_head;
    int status; /* without one in the head: 200, or 302 for a Location */
    const char *reason; /* in head, or "" */
    /* Callbacks; each may be NULL. They get the complete head, bytes of the
     * body, and bytes of FCGI_STDERR. 0, or -errno to stop. */
    int (*on_head)(struct client_response *a);
    int (*on_body)(struct client_response *a, const char *bytes, size_t n);
    int (*on_errors)(struct client_response *a, const char *bytes, size_t n);
    void *arg;
    bool sink_failed; /* a callback has returned an error */
};

void client_response_init(struct client_response *a);
void client_response_fini(struct client_response *a);

/* For a fcgi_reader, where another loop than client_response_get() has the
 * connection. */
CHECK_RESULT int client_response_take(void *response, bool is_errors,
                                      const char *bytes, size_t n);

/* Sends the request and reads the whole response. */
CHECK_RESULT int client_response_get(struct client_response *a,
                                     struct connection *p,
                                     const struct buf *vars,
                                     struct upload *body);

/* The value of a header; NULL: there is none of that name. */
const char *client_response_header(const struct client_response *a,
                                   const char *name);

#endif
