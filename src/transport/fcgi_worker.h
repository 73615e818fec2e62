/*
 * fcgi_worker.h - the state of a FastCGI worker, shared by transport/fcgi*.c
 *
 * What:      the current request: connection, body, output.
 * Owner:     transport/fcgi.c.
 * Threads:   the worker's.                                       GIL: not used.
 * Errors:    0 or -errno.                                  Blocks: see each.
 */
#ifndef TRANSPORT_FCGI_WORKER_H
#define TRANSPORT_FCGI_WORKER_H

#include "gateway/transport.h"
#include "transport/fcgi.h"
#include "transport/spool.h"

struct FCGX_Request; /* libfcgi's; only the .c files know it */

/* Where we are in the records behind the head. */
struct fcgi_body {
    size_t ready;        /* from parser.pos on: bytes that libfcgi may see */
    size_t empty;        /* ready <= empty: there is no content among them */
    size_t left;         /* behind them: content of the current record */
    size_t pad;          /* and its padding */
    bool drop;           /* libfcgi must not see what is left of that record */
    uint8_t type;        /* of that record */
    bool stdin_eof;      /* the empty STDIN has been seen (or none will come) */
    bool data_eof;       /* the same for DATA */
    bool peer_eof;       /* the peer will send nothing more */
    bool aborted;        /* ABORT_REQUEST for this request */
    int error;           /* -errno: what ended the input */
    int lost;            /* -errno: why records are dropped, not spooled */
    struct spool spool;  /* records taken before libfcgi asked for them */
    uint64_t taken;      /* content of STDIN that has arrived */
    int64_t deadline_ms; /* of the next content; 0 = not waited for yet */
    size_t foreign;      /* bytes of other ids' records */
    size_t unshared;     /* bytes received without releasing the GIL */
};

struct fcgi_worker {
    struct request q; /* first: the transport gets only this */
    const struct config *config;
    struct fcgi_limits limits;
    fcgi_run_fn run;
    void *run_arg;
    struct FCGX_Request *fx;
    struct fcgi_conn *c; /* the current connection */
    int fd;
    struct buf in;    /* what was received on it */
    struct buf reply; /* answers of the parser */
    struct buf head;  /* the current PARAMS: names and values point into it */
    struct fcgi_body body;
    bool has_stream;  /* libfcgi has been given the request */
    bool head_given;  /* and has read its head */
    bool reads_data;  /* and goes on to DATA */
    bool head_used;   /* it has been copied: the input may be overwritten */
    bool begun;       /* an FCGI_STDOUT record was sent */
    bool used_stderr; /* an FCGI_STDERR record was sent */
    bool broken;      /* a write has failed: nothing more can be sent */
    bool sending;     /* inside a record: replies have to wait */
    bool cut_off;     /* the response was aborted: close without END_REQUEST */
};

static inline struct fcgi_worker *
fcgi_of(struct request *q)
{
    void *p = q;
    return p;
}

/* -- fcgi_body.c ---------------------------------------------------------- */

/* Receives once, without waiting: > 0; 0 = the peer's end; -EAGAIN; -errno. */
CHECK_RESULT ssize_t fcgi_receive(struct fcgi_worker *w);

/* Sends the parser's replies without waiting; later if a record is being sent.
 * A reply cut short breaks the connection. */
CHECK_RESULT int fcgi_send_reply(struct fcgi_worker *w);

void fcgi_body_begin(struct fcgi_worker *w);
void fcgi_body_end(struct fcgi_worker *w);

/* Scans what has arrived, so that the end of the body is known early. */
void fcgi_body_look(struct fcgi_worker *w);

/* The socket is readable while we want to write: receives the body into the
 * spool, and what follows it into the input. */
CHECK_RESULT int fcgi_body_absorb(struct fcgi_worker *w);

/* True if we should read ahead: a peer that writes before it reads must not be
 * left waiting. */
bool fcgi_body_wants_more(const struct fcgi_worker *w);

/* True if nothing of the request is still to come. */
bool fcgi_body_complete(const struct fcgi_worker *w);

/* True if STDIN has ended without a byte. */
bool fcgi_body_is_empty(const struct fcgi_worker *w);

/* Transport: read, take_body, peer_gone and was_aborted. */
ssize_t fcgi_read(struct request *q, enum request_stream s, void *to,
                  size_t size);
int64_t fcgi_take_body(struct request *q);
bool fcgi_peer_gone(struct request *q);
bool fcgi_was_aborted(struct request *q);

/* -- fcgi_out.c ----------------------------------------------------------- */

int fcgi_send(struct request *q, struct iovec *blocks, size_t n, int flags);
int fcgi_send_file(struct request *q, struct iovec head, int fd, off_t offset,
                   uint64_t count, uint64_t *ret_sent);
/* Ends a response that is not complete, so that the web server notices. */
void fcgi_break_off(struct fcgi_worker *w);
size_t fcgi_errors(struct request *q, const char *lines, size_t n);

#endif
