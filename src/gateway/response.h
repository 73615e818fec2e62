/*
 * response.h - the head and body of one response, in CGI's form
 *
 * What:      states NONE -> SET (status and headers held) -> SENT (head on the
 *            wire) -> DONE or ABORTED. Holds the head until the first non-empty
 *            block; enforces Content-Length; drops bodies of HEAD, 204, 304.
 * Owner:     the request.
 * Lifetime:  one request.
 * Threads:   the request's thread.      GIL: not used here; the request's wait
 *            hooks (request.h) run around every wait.
 * Errors:    0, a positive enum response_error, or -errno of the peer
 *            (-EPIPE, -ECONNRESET, -ETIMEDOUT, -ECONNABORTED: client is gone).
 * Blocks:    while the peer does not read, up to --write-timeout without
 *            progress.
 * Standards: RFC 3875, 6; PEP 3333; RFC 7230, 3.2.6 (token).
 */
#ifndef GATEWAY_RESPONSE_H
#define GATEWAY_RESPONSE_H

#include "base/buf.h"
#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct request;

enum response_error {
    RESPONSE_OK,
    RESPONSE_BAD_STATUS,         /* not "999 Reason" */
    RESPONSE_BAD_NAME,           /* header name is not a token */
    RESPONSE_BAD_VALUE,          /* control character in a header value */
    RESPONSE_BAD_STATUS_CHAR,    /* control character in the status */
    RESPONSE_HOP_BY_HOP,         /* Connection, Transfer-Encoding, ... */
    RESPONSE_BAD_CONTENT_LENGTH, /* not digits, or given twice and different */
    RESPONSE_TWICE,              /* Status, Content-Type, Location repeated */
    RESPONSE_NO_MEMORY,
    RESPONSE_FULL, /* Content-Length reached: stop iterating */
    RESPONSE_ERROR_MAX
};

enum response_state {
    RESPONSE_NONE,
    RESPONSE_SET,
    RESPONSE_SENT,
    RESPONSE_DONE,
    RESPONSE_ABORTED
};

struct response {
    enum response_state state;
    int status;      /* 0 = none set */
    bool is_head;    /* HEAD request */
    bool has_body;   /* false for HEAD, 204, 304 and 1xx */
    bool has_length; /* content_length is the application's */
    bool has_location, has_type;
    bool is_relayed; /* its head is not here */
    uint64_t content_length;
    uint64_t sent;          /* bytes of body given to the transport */
    bool cut;               /* a block went beyond Content-Length */
    struct buf status_text; /* "Status: 200 OK\r\n" */
    struct buf location;    /* "Location: ...\r\n" */
    struct buf type;        /* "Content-Type: ...\r\n" */
    struct buf fields;      /* all other header lines */
    struct buf head;        /* the assembled head */
};

void response_init(struct response *r);
void response_fini(struct response *r);
/* For the next request. Keeps memory up to a bound. */
void response_clear(struct response *r, bool is_head);

/* A message for a positive result of the functions below. */
const char *response_strerror(enum response_error e);

/* -- setting the head (start_response) ------------------------------------ */

/* Removes status and headers; only before the head is sent. */
void response_reset(struct response *r);

/* "200 OK" (also "200" and "200 "); latin-1 bytes. State NONE -> SET. */
CHECK_RESULT int response_set_status(struct response *r, const char *s,
                                     size_t n);

/* Adds one header, validated. An application's own "Status" header is dropped
 * (the status given to start_response is the one that counts). */
CHECK_RESULT int response_add_header(struct response *r, const char *name,
                                     size_t nname, const char *value,
                                     size_t nvalue);

/* True if the header was added; not for Status, Location and Content-Type. */
bool response_has_header(const struct response *r, const char *name);

/* Adds a Content-Length that the application has not given. 0 or -ENOMEM. */
CHECK_RESULT int response_set_length(struct response *r, uint64_t length);

/* Removes Content-Length. */
void response_drop_length(struct response *r);

/* -- sending -------------------------------------------------------------- */

/* True once bytes of the head have been given to the transport. */
bool response_head_sent(const struct response *r);

/* Sends one block at once, after the head if that is not out yet. Ignores empty
 * blocks. 0; RESPONSE_FULL if Content-Length is now reached or no body is
 * allowed: response.cut is then true if a part of this block did not fit.
 * -errno if the peer is gone; -EBUSY from another thread than the request's. */
CHECK_RESULT int response_write(struct request *q, const void *block, size_t n);

/* The whole body in one go, and the end of the response: head, blocks and end
 * leave in as few system calls as possible. Content-Length is added if it is
 * missing and allowed. The blocks are only read. 0 or -errno. */
CHECK_RESULT int response_write_all(struct request *q,
                                    const struct iovec *blocks, size_t nblocks);

/* Sends count bytes of fd from offset (sendfile). *ret_sent is the number
 * sent: the file may be shorter. 0, RESPONSE_FULL or -errno; -EINVAL if the
 * descriptor cannot be sent this way and nothing was sent (read it instead). */
CHECK_RESULT int response_send_file(struct request *q, int fd, off_t offset,
                                    uint64_t count, uint64_t *ret_sent);

/* Ends the response: sends a head that is still held. 0, or -errno; -EMSGSIZE
 * if fewer bytes than Content-Length were sent: the response has then been
 * aborted, so that the client sees a broken transfer. */
CHECK_RESULT int response_finish(struct request *q);

/* A response that another process made has been sent through the transport: its
 * head, so many bytes of its body, and perhaps all of it. */
void response_note_relayed(struct request *q, int status, uint64_t sent,
                           bool is_whole);

/* Ends it so that the web server notices, and its client if the server lets it
 * (FastCGI: no END_REQUEST, see fcgi_out.c; CGI: exit code 1). The request has
 * failed; response_client_gone(): because of its client. */
void response_abort(struct request *q);
void response_client_gone(struct request *q);

/* True if -errno of a send means that the peer is gone, or takes nothing; false
 * if something failed on this side. */
bool response_is_peer_error(int err);

/* Sends a whole error response if the head is not out yet; else aborts. status
 * is "500 Internal Server Error"; html is a complete page. exit status becomes
 * 1 for 5xx. Errors of the peer are ignored. */
void response_error_page(struct request *q, const char *status,
                         const char *html, size_t n);

/* The same with a small page made of the status and one sentence (plain text,
 * escaped here); id is shown if it is not NULL. */
void response_error(struct request *q, const char *status, const char *sentence,
                    const char *id);

/* response_error() with status 503: the client should try again after so many
 * seconds. */
void response_unavailable(struct request *q, const char *sentence,
                          int64_t retry_after_s);

/* response_error() from another thread, while the request's own thread is stuck
 * and kept out. Nothing more can be sent afterwards. Never blocks if the
 * request is cancelled. */
void response_give_up(struct request *q, const char *status,
                      const char *sentence, const char *id);

#endif
