/*
 * fcgi.h - FastCGI: one request thread serving one connection at a time
 *
 * What:      gets a readable connection, parses what has arrived, runs each
 *            complete request, and says what to do with the connection next.
 * Owner:     one struct fcgi_worker per request thread; entries of connections
 *            belong to net/conn's table.
 * Lifetime:  fcgi_worker_new() to fcgi_worker_free().
 * Threads:   each worker belongs to its thread.
 * GIL:       not held by the caller; the run function takes it.
 * Errors:    a protocol error of the peer ends its connection without a
 *            message.
 * Blocks:    never before a request's head is complete; then as long as it
 *            runs. Standards: FastCGI 1.0.
 */
#ifndef TRANSPORT_FCGI_H
#define TRANSPORT_FCGI_H

#include "base/compiler.h"
#include "conf/config.h"
#include "gateway/request.h"
#include "net/conn.h"
#include "transport/fcgi_parser.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* What a connection keeps while it is parked. */
struct fcgi_conn {
    struct conn conn; /* first: net/conn knows only this */
    struct fcgi_parser parser;
    struct buf saved;           /* received, not used yet; usually empty */
    int64_t head_deadline_ms;   /* of a head that has begun; 0 = none has */
    int64_t linger_deadline_ms; /* 0 = not lingering */
    size_t lingered;            /* bytes received while lingering */
};

/* Runs one prepared request to its end. A request with has_after set is the
 * thread's last in this call of fcgi_serve(), so that the connection does not
 * wait for it; until the next call only request_log() and request_errors() may
 * be used on it. */
typedef void (*fcgi_run_fn)(void *arg, struct request *q);

struct fcgi_worker;

CHECK_RESULT struct fcgi_worker *
fcgi_worker_new(const struct config *config, const struct fcgi_limits *limits,
                fcgi_run_fn run, void *arg);
void fcgi_worker_free(struct fcgi_worker **w);

/* Each recv() of a connection has room for at least so many bytes. So a request
 * of no more than FCGI_WHOLE_MAX, which one send() has put into the queue of a
 * new unix connection, is taken whole or not at all: the kernel keeps it in one
 * piece (up to about 48 KiB; it cuts more than that, also for one send()). As
 * long as something of it is unread (SIOCOUTQ), it has not begun. An instance of
 * --keep-warm looks, after it has read the last byte of a head, whether the peer
 * has ended its direction since, and then does not begin the request: this is
 * how a CGI process takes back a request that has waited too long
 * (client/relay.c). */
enum { FCGI_RECEIVE_ROOM = 64 << 10, FCGI_WHOLE_MAX = 32 << 10 };

enum fcgi_next { FCGI_NEXT_CLOSE, FCGI_NEXT_PARK, FCGI_NEXT_PASS_ON };

/* What happens to connections once they have been answered. */
enum fcgi_stop {
    FCGI_GO_ON,
    FCGI_LEAVE, /* the caller passes them to another process */
    FCGI_STOP   /* they end after what the peer has sent by then */
};

/* Serves what has arrived on fd. FCGI_NEXT_PARK: arm the poller; something must
 * arrive before *ret_deadline_ms. FCGI_NEXT_PASS_ON: something has arrived, and
 * another thread should serve it at once; the peer must take what it was sent
 * before that deadline. */
CHECK_RESULT enum fcgi_next fcgi_serve(struct fcgi_worker *w,
                                       struct fcgi_conn *c, int fd,
                                       const _Atomic(enum fcgi_stop) *stop,
                                       int64_t *ret_deadline_ms);

/* True if another process that gets only the descriptor can go on with it,
 * while it is parked. */
bool fcgi_conn_is_blank(const struct fcgi_conn *c);

/* Frees what the connection holds; before conn_close(). */
void fcgi_conn_fini(struct fcgi_conn *c);

#endif
