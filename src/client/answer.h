/*
 * answer.h - the response of a backend, taken apart: head and body
 *
 * What:      one request and its response; the head is collected, the body goes
 *            on to whoever wants it.
 * Owner:     a client_*() function.
 * Lifetime:  answer_init() to answer_fini(); head is whole before the first byte
 *            of the body is handed on.
 * Threads:   one.                                                GIL: not used.
 * Errors:    0; EX_UNAVAILABLE, EX_NOINPUT or EX_IOERR after a log line.
 * Blocks:    until the peer's deadline.
 * Standards: RFC 3875, 6.2, 6.3.
 */
#ifndef CLIENT_ANSWER_H
#define CLIENT_ANSWER_H

#include "base/buf.h"
#include "base/compiler.h"
#include "client/body.h"
#include "client/peer.h"

#include <stdbool.h>
#include <stddef.h>

struct answer {
    struct buf head; /* lines without their ends, each terminated by a NUL */
    bool has_head;
    int status;         /* 200 where the head has none, 302 for a Location */
    const char *reason; /* in head, or "" */
    /* What the caller wants, each may be NULL: the head is whole; bytes of the
     * body; bytes of FCGI_STDERR. 0 or -errno, which ends the exchange. */
    int (*on_head)(struct answer *a);
    int (*on_body)(struct answer *a, const char *bytes, size_t n);
    int (*on_errors)(struct answer *a, const char *bytes, size_t n);
    void *arg;
    bool sink_failed; /* one of these has returned an error */
};

void answer_init(struct answer *a);
void answer_fini(struct answer *a);

/* Sends the request and takes the whole response. */
CHECK_RESULT int answer_get(struct answer *a, struct peer *p,
                            const struct buf *vars, struct body *body);

/* The value of a header, NULL where it is not there. */
const char *answer_header(const struct answer *a, const char *name);

#endif
