/*
 * transport.h - what carries a request: CGI or FastCGI, chosen once
 *
 * What:      what differs between the two. Only gateway/ calls these functions;
 *            the WSGI side calls request_*() and response_*().
 * Threads:   the request's thread.        GIL: hooks run around every wait.
 * Errors:    0 or -errno.                 Blocks: read and send may.
 */
#ifndef GATEWAY_TRANSPORT_H
#define GATEWAY_TRANSPORT_H

#include "gateway/request.h"

#include <sys/uio.h>

enum { SEND_END = 1 }; /* nothing follows: finish the response */

struct transport {
    const char *name;  /* "cgi", "fastcgi" */
    bool status_first; /* else Location before Status (HAProxy) */
    bool is_nph;       /* a whole HTTP response, not a CGI one */
    /* > 0; 0 = the stream's own end; -errno. */
    ssize_t (*read)(struct request *, enum request_stream, void *, size_t);
    /* Receives all of a body of unknown length and spools it for read(). Its
     * length, or -errno. */
    int64_t (*take_body)(struct request *);
    /* All of the blocks. The array may be changed. */
    int (*send)(struct request *, struct iovec *blocks, size_t n, int flags);
    /* Up to count bytes of fd from offset, head (may be empty) first. */
    int (*send_file)(struct request *, struct iovec head, int fd, off_t offset,
                     uint64_t count, uint64_t *ret_sent);
    void (*abort)(struct request *);
    bool (*peer_gone)(struct request *);
    /* After the response: true where the web server had asked for the end of
     * the request by then. Costs a system call or two. NULL: it cannot. */
    bool (*was_aborted)(struct request *);
    /* Writes to the web server's log: how many bytes it took. NULL: fd 2 is its
     * only log. */
    size_t (*errors)(struct request *, const char *lines, size_t n);
    /* The response has ended and its thread is stuck: shows the peer that
     * nothing follows. NULL: nothing to do. */
    void (*hang_up)(struct request *);
};

#endif
