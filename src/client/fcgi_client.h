/*
 * fcgi_client.h - sends a request, or FCGI_GET_VALUES, and reads the answer
 *
 * What:      sends and receives records at the same time, so that the two sides
 *            cannot wait for each other.
 * Owner:     the caller owns the connection.
 * Threads:   one.                                                GIL: not used.
 * Errors:    0 or -errno: -EPROTO (not FastCGI), -ENODATA (the connection ended
 *            before END_REQUEST), -ETIMEDOUT, or what the sink returned.
 * Blocks:    until the deadline of the connection.
 * Standards: FastCGI 1.0, 3.3, 4.1, 5.
 */
#ifndef CLIENT_FCGI_CLIENT_H
#define CLIENT_FCGI_CLIENT_H

#include "base/buf.h"
#include "base/compiler.h"
#include "client/connection.h"
#include "client/fcgi_records.h"
#include "client/upload.h"

#include <stdbool.h>
#include <stddef.h>

struct fcgi_client_end {
    unsigned protocol_status; /* FCGI_REQUEST_COMPLETE, ... */
    bool body_failed;         /* reading the body failed, not the connection */
};

CHECK_RESULT int fcgi_client_request(struct connection *p,
                                     const struct buf *vars,
                                     struct upload *body,
                                     fcgi_records_sink sink, void *arg,
                                     struct fcgi_client_end *ret_end);

/* 0: the backend has answered, with values or with FCGI_UNKNOWN_TYPE. */
CHECK_RESULT int fcgi_client_values(struct connection *p);

#endif
