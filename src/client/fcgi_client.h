/*
 * fcgi_client.h - records to and from a backend: one request, or FCGI_GET_VALUES
 *
 * What:      sends and receives at the same time, so that neither side can wait
 *            for the other.
 * Owner:     the caller owns the peer.
 * Threads:   one.                                                GIL: not used.
 * Errors:    0 or -errno: -EPROTO (not FastCGI), -ENODATA (the connection ended
 *            before END_REQUEST), -ETIMEDOUT, or what a sink returned.
 * Blocks:    until the peer's deadline.
 * Standards: FastCGI 1.0, 3.3, 4.1, 5.
 */
#ifndef CLIENT_FCGI_CLIENT_H
#define CLIENT_FCGI_CLIENT_H

#include "base/buf.h"
#include "base/compiler.h"
#include "client/connection.h"
#include "client/upload.h"

#include <stdbool.h>
#include <stddef.h>

/* Gets the bytes of STDOUT (is_errors: STDERR) as they come. */
typedef int (*fcgi_client_sink)(void *arg, bool is_errors, const char *bytes,
                                size_t n);

struct fcgi_client_end {
    unsigned protocol_status; /* FCGI_REQUEST_COMPLETE, ... */
    bool body_failed;         /* the error was the body's, not the peer's */
};

CHECK_RESULT int fcgi_client_request(struct connection *p,
                                     const struct buf *vars,
                                     struct upload *body, fcgi_client_sink sink,
                                     void *arg,
                                     struct fcgi_client_end *ret_end);

/* 0: it has answered FCGI_GET_VALUES, or said that it does not know that. */
CHECK_RESULT int fcgi_client_values(struct connection *p);

#endif
