#include "transport/fcgi.h"

#include "base/clock.h"
#include "gateway/access_log.h"
#include "os/log.h"
#include "transport/fcgi_os.h"
#include "transport/fcgi_worker.h"
#include "transport/other_protocol.h"

#include <assert.h>
#include <errno.h>
#include <fastcgi.h>
#include <fcgiapp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    SWAP_FROM = 16 << 10, /* larger leftovers are not copied */
    REPLY_MAX = 64 << 10,
    KEEP_INPUT = 256 << 10, /* memory a worker keeps between connections */
    LINGER_STEP_MS = 5000,  /* without a byte while lingering */
    LINGER_MAX_MS = 30000,
    LINGER_STOP_MS = 2000,  /* the same at a stop */
    LINGER_HEAD = 16 << 20, /* bytes of a head that is beyond --limit-head */
    FIRST_BYTES_MS = 1000   /* for more of them, where they are no record */
};

static void
fcgi_abort(struct request *q)
{
    fcgi_of(q)->cut_off = true;
    fcgi_break_off(fcgi_of(q));
}

/* Not close(): the stuck thread still uses the descriptor. */
static void
fcgi_hang_up(struct request *q)
{
    fcgi_of(q)->cut_off = true;
    (void)shutdown(fcgi_of(q)->fd, SHUT_WR);
}

static const struct transport fcgi_transport = {
    .name = "fastcgi",
    .status_first = false,
    .read = fcgi_read,
    .take_body = fcgi_take_body,
    .send = fcgi_send,
    .send_file = fcgi_send_file,
    .abort = fcgi_abort,
    .peer_gone = fcgi_peer_gone,
    .was_aborted = fcgi_was_aborted,
    .errors = fcgi_errors,
    .hang_up = fcgi_hang_up,
};

struct fcgi_worker *
fcgi_worker_new(const struct config *config, const struct fcgi_limits *limits,
                fcgi_run_fn run, void *arg)
{
    struct fcgi_worker *w = calloc(1, sizeof *w);
    FCGX_Request *fx = calloc(1, sizeof *fx);

    if (w == NULL || fx == NULL) {
        free(w);
        free(fx);
        return NULL;
    }
    w->fx = fx;
    request_init(&w->q, &fcgi_transport, config);
    w->config = config;
    w->limits = *limits;
    w->run = run;
    w->run_arg = arg;
    w->fd = -1;
    FCGX_InitRequest(w->fx, -1, 0);
    w->fx->ipcFd = -1;
    /* The head may come in the smallest records with the largest padding. */
    buf_init(&w->in,
             (size_t)limits->head + (size_t)4 * FCGI_RECORD_MAX + (1u << 20));
    buf_init(&w->reply, REPLY_MAX);
    buf_init(&w->head, (size_t)limits->head);
    spool_init(&w->body.spool);
    return w;
}

void
fcgi_worker_free(struct fcgi_worker **w)
{
    if (*w != NULL) {
        request_fini(&(*w)->q);
        buf_fini(&(*w)->in);
        buf_fini(&(*w)->reply);
        buf_fini(&(*w)->head);
        spool_fini(&(*w)->body.spool);
        free((*w)->fx);
        free(*w);
        *w = NULL;
    }
}

bool
fcgi_conn_is_blank(const struct fcgi_conn *c)
{
    return c->saved.len == 0 && !c->conn.has_input && c->parser.id == 0 &&
           c->parser.stale_id == 0 && c->parser.skip == 0 &&
           c->linger_deadline_ms == 0 && !atomic_load(&c->conn.swept);
}

void
fcgi_conn_fini(struct fcgi_conn *c)
{
    buf_fini(&c->saved);
    memset(&c->parser, 0, sizeof c->parser);
    c->head_deadline_ms = 0;
    c->linger_deadline_ms = 0;
}

/* -- the input of a parked connection ------------------------------------- */

static void
swap_bufs(struct buf *a, struct buf *b)
{
    struct buf t = *a;
    *a = *b;
    *b = t;
}

static int
load_input(struct fcgi_worker *w, struct fcgi_conn *c)
{
    int e = 0;

    w->in.len = 0;
    if (c->saved.len >= SWAP_FROM) {
        swap_bufs(&w->in, &c->saved);
    }
    else if (c->saved.len > 0) {
        e = buf_add(&w->in, c->saved.data, c->saved.len);
    }
    if (c->saved.cap > 0) {
        buf_fini(&c->saved);
    }
    return e;
}

/* An idle connection keeps nothing, one in the middle of a head what it
 * needs. */
static int
save_input(struct fcgi_worker *w, struct fcgi_conn *c)
{
    fcgi_parser_compact(&c->parser, &w->in);
    if (w->in.len == 0) {
        return 0;
    }
    assert(c->saved.cap == 0);
    buf_init(&c->saved, w->in.max);
    if (w->in.len >= SWAP_FROM) {
        swap_bufs(&w->in, &c->saved);
        return 0;
    }
    return buf_add(&c->saved, w->in.data, w->in.len);
}

/* -- one request ---------------------------------------------------------- */

/* Reading the body overwrites the input, so the variables are copied out of it.
 * They come from the bytes that the parser has checked: libfcgi would copy each
 * into memory of its own, for a third of a small request's instructions. */
static int
add_params(struct fcgi_worker *w)
{
    const struct fcgi_parser *g = &w->c->parser;

    w->head.len = 0;
    int r = buf_add(&w->head, w->in.data + g->params_at, g->params_len);
    return r < 0 ? r
                 : fcgi_params_add(&w->q.params, (const uint8_t *)w->head.data,
                                   w->head.len, (enum params_fault)g->fault,
                                   w->limits.vars);
}

/* HTTP/2 and 3 have no Transfer-Encoding: nothing announces a body without a
 * length. */
static bool
has_silent_body(const struct request *q)
{
    const struct param *e = params_get(&q->params, "SERVER_PROTOCOL");

    return q->role == ROLE_RESPONDER && !q->response.is_head &&
           !params_is(&q->params, "REQUEST_METHOD", "GET") && e != NULL &&
           e->value_len > 5 &&
           (memcmp(e->value, "HTTP/2", 6) == 0 ||
            memcmp(e->value, "HTTP/3", 6) == 0);
}

static void
run_request(struct fcgi_worker *w)
{
    struct request *q = &w->q;

    request_clear(q);
    q->late = NULL;
    atomic_store_explicit(&w->c->conn.kept, true, memory_order_relaxed);
    q->role = (enum request_role)w->c->parser.role;
    w->begun = w->used_stderr = w->broken = w->cut_off = false;
    fcgi_body_begin(w);
    request_set_running(q);
    access_log_begin(q);
    int r = add_params(w);
    w->head_used = true;
    if (r < 0) {
        response_abort(q);
    }
    else if (w->c->parser.fault != PARAMS_OK) {
        request_refuse(q, (enum params_fault)w->c->parser.fault);
    }
    else if (request_prepare(q) == 0) {
        fcgi_body_look(w);
        if (!fcgi_body_is_empty(w) && q->content_length < 0 && !q->is_unsized) {
            q->is_unsized = has_silent_body(q);
        }
        w->run(w->run_arg, q);
    }
    if (q->response.state != RESPONSE_DONE) {
        response_abort(q);
        if (w->body.aborted && !w->broken) {
            /* 5.4: the server asked for this end, and gets its END_REQUEST. */
            w->cut_off = fcgi_send(q, NULL, 0, SEND_END) < 0;
        }
    }
    access_log_end(q);
    request_set_running(NULL);
    assert(q->response.state == RESPONSE_DONE ||
           q->response.state == RESPONSE_ABORTED);
    if (q->has_after) {
        request_detach(q); /* its variables may end with this call */
    }
    fcgi_body_end(w);
}

/* -- the connection between requests -------------------------------------- */

static void
begin_linger(struct fcgi_worker *w, struct fcgi_conn *c, bool stopping)
{
    (void)shutdown(w->fd, SHUT_WR);
    c->lingered = 0;
    c->linger_deadline_ms =
        clock_ms() + (stopping ? LINGER_STOP_MS : LINGER_MAX_MS);
    atomic_store(&c->conn.lingering, true);
}

/* The response is out, but the end of the body has not arrived: closing now
 * would reset the connection before the peer has read the whole response. So
 * end our side and drop what arrives, in the poller and not in a thread. */
static enum fcgi_next
linger(struct fcgi_worker *w, struct fcgi_conn *c, bool stopping,
       int64_t *ret_deadline_ms)
{
    int64_t now = clock_ms();
    int64_t step = stopping ? LINGER_STOP_MS : LINGER_STEP_MS;

    if (c->linger_deadline_ms == 0) {
        begin_linger(w, c, stopping);
    }
    for (int i = 0; i < 64; i++) {
        if (fcgi_parser_scan(&c->parser, &w->in, &w->reply, &w->limits) !=
                FCGI_PARSER_MORE ||
            c->parser.stale_id == 0) {
            return FCGI_NEXT_CLOSE; /* the body has ended, or there is none */
        }
        w->reply.len = 0;
        ssize_t n = fcgi_receive(w);
        if (n == 0 || (n < 0 && n != -EAGAIN)) {
            return FCGI_NEXT_CLOSE;
        }
        if (n < 0) {
            break;
        }
        c->lingered += (size_t)n;
        if (c->parser.stale_head && c->lingered > LINGER_HEAD) {
            return FCGI_NEXT_CLOSE; /* no server sends that much */
        }
    }
    if (step > w->config->body_timeout_ms) {
        step = w->config->body_timeout_ms;
    }
    *ret_deadline_ms =
        now + step < c->linger_deadline_ms ? now + step : c->linger_deadline_ms;
    return now >= c->linger_deadline_ms || save_input(w, c) < 0
               ? FCGI_NEXT_CLOSE
               : FCGI_NEXT_PARK;
}

/* After a request. 1 = the connection can carry the next one. */
static int
after_request(struct fcgi_worker *w, struct fcgi_conn *c, bool stopping,
              int64_t *ret_deadline_ms, enum fcgi_next *ret_next)
{
    assert(w->c == c && w->body.ready == 0);
    bool cut_head = c->parser.fault == PARAMS_TOO_LARGE; /* may never end */
    bool keep = c->parser.keep && !w->broken && !w->cut_off && !cut_head &&
                (!w->body.peer_eof || w->in.len > c->parser.pos) &&
                (w->body.error == 0 || w->body.aborted);
    bool complete = (fcgi_body_complete(w) && !cut_head) || w->body.peer_eof;

    /* Do not wait for the rest of this body: the parser skips records of a
     * request that has ended, and the rest of the current one. */
    fcgi_parser_reset(&c->parser, w->body.left + w->body.pad, !complete);
    c->head_deadline_ms = 0;
    if (keep) {
        return 1;
    }
    *ret_next = FCGI_NEXT_CLOSE;
    if (!complete) {
        *ret_next = linger(w, c, stopping, ret_deadline_ms);
    }
    return 0;
}

/* How long the connection may be silent. Before the first request the time
 * limit is that of a head. */
static int64_t
idle_time(const struct config *config, const struct fcgi_conn *c)
{
    if (!atomic_load_explicit(&c->conn.kept, memory_order_relaxed)) {
        return config->head_timeout_ms;
    }
    return c->parser.stale_id != 0 ? config->body_timeout_ms
                                   : config->keepalive_timeout_ms;
}

static enum fcgi_next
park(struct fcgi_worker *w, struct fcgi_conn *c, int64_t *ret_deadline_ms)
{
    /* The rest of an old body does not begin a new head. */
    bool begun = c->parser.id != 0 ||
                 (w->in.len > c->parser.pos && c->parser.stale_id == 0);
    int64_t now = clock_coarse_ms();

    if (!begun) {
        c->head_deadline_ms = 0;
        *ret_deadline_ms = now + idle_time(w->config, c);
    }
    else {
        /* Absolute: a byte now and then does not extend it. */
        if (c->head_deadline_ms == 0) {
            c->head_deadline_ms = now + w->config->head_timeout_ms;
        }
        *ret_deadline_ms = c->head_deadline_ms;
    }
    return save_input(w, c) < 0 ? FCGI_NEXT_CLOSE : FCGI_NEXT_PARK;
}

/* This thread has after-response work to do. What has already arrived on the
 * connection need not wait for that if another thread is idle. */
static enum fcgi_next
pass_on(struct fcgi_worker *w, struct fcgi_conn *c, int64_t *ret_deadline_ms)
{
    if (w->in.len == c->parser.pos) {
        return park(w, c, ret_deadline_ms);
    }
    c->conn.has_input = true;
    *ret_deadline_ms = clock_coarse_ms() + w->config->write_timeout_ms;
    return save_input(w, c) < 0 ? FCGI_NEXT_CLOSE : FCGI_NEXT_PASS_ON;
}

/* The last answer is out, but the peer may not know yet that it is the last
 * one. On a unix socket it cannot send any more from here on; what it has sent
 * until then gets an answer, too. */
static bool
is_sent_already(struct fcgi_worker *w, const struct fcgi_conn *c)
{
    (void)shutdown(w->fd, SHUT_RD);
    return w->in.len > c->parser.pos || fcgi_receive(w) > 0;
}

/* The first bytes of a connection that are no record may tell what the peer
 * speaks instead. Few bytes get a moment to be followed by more: at most as
 * long as the head of a request, of which the same is kept. */
static enum fcgi_next
look_at_first_bytes(struct fcgi_worker *w, struct fcgi_conn *c,
                    int64_t *ret_deadline_ms)
{
    const uint8_t *first = (const uint8_t *)w->in.data;

    if (c->parser.pos > 0 || w->in.len == 0 ||
        atomic_load_explicit(&c->conn.kept, memory_order_relaxed)) {
        return FCGI_NEXT_CLOSE;
    }
    if (!other_protocol_needs_more(first, w->in.len)) {
        other_protocol_refuse(w->fd, first, w->in.len);
        return FCGI_NEXT_CLOSE;
    }
    if (c->head_deadline_ms == 0) {
        int64_t most = w->config->head_timeout_ms;
        c->head_deadline_ms =
            clock_coarse_ms() + (most < FIRST_BYTES_MS ? most : FIRST_BYTES_MS);
    }
    return park(w, c, ret_deadline_ms);
}

/* True where the peer does not wait for the answer any more: FCGI_RECEIVE_ROOM
 * of fcgi.h says why this is asked only now. */
static bool
is_taken_back(const struct fcgi_worker *w)
{
    struct pollfd p = {.fd = w->fd, .events = POLLRDHUP};

    if (!w->config->is_warm || poll(&p, 1, 0) <= 0) {
        return false;
    }
    log_debug("a request was taken back before it began");
    return true;
}

/* The peer may have ended its direction just now, and cannot know what we have
 * read before that. */
static void
send_refusal(struct fcgi_worker *w)
{
    uint8_t end[FCGI_HEADER + 8] = {0};

    fcgi_header(end, FCGI_END_REQUEST, w->c->parser.id, 8);
    end[FCGI_HEADER + 4] = FCGI_OVERLOADED;
    w->reply.len = 0;
    if (buf_add(&w->reply, end, sizeof end) == 0) {
        (void)!fcgi_send_reply(w);
    }
    w->reply.len = 0;
}

/* Requests that have arrived, one after the other. */
static enum fcgi_next
serve_input(struct fcgi_worker *w, struct fcgi_conn *c,
            const _Atomic(enum fcgi_stop) *stop, int64_t *ret_deadline_ms)
{
    for (;;) {
        enum fcgi_next next;
        enum fcgi_parser_result r =
            fcgi_parser_scan(&c->parser, &w->in, &w->reply, &w->limits);
        if (w->reply.len > 0 && fcgi_send_reply(w) < 0) {
            return FCGI_NEXT_CLOSE;
        }
        switch (r) {
        case FCGI_PARSER_CLOSE:
            return look_at_first_bytes(w, c, ret_deadline_ms);
        case FCGI_PARSER_MORE:
            return park(w, c, ret_deadline_ms);
        case FCGI_PARSER_READY:
            break;
        }
        if (is_taken_back(w)) {
            send_refusal(w);
            return FCGI_NEXT_CLOSE;
        }
        run_request(w);
        enum fcgi_stop how = atomic_load_explicit(stop, memory_order_relaxed);
        if (!after_request(w, c, how != FCGI_GO_ON, ret_deadline_ms, &next)) {
            return next;
        }
        if (how == FCGI_STOP && c->parser.stale_id != 0) {
            return linger(w, c, true, ret_deadline_ms);
        }
        if (how == FCGI_STOP && !is_sent_already(w, c)) {
            return FCGI_NEXT_CLOSE;
        }
        if (w->q.has_after) {
            return pass_on(w, c, ret_deadline_ms);
        }
    }
}

enum fcgi_next
fcgi_serve(struct fcgi_worker *w, struct fcgi_conn *c, int fd,
           const _Atomic(enum fcgi_stop) *stop, int64_t *ret_deadline_ms)
{
    enum fcgi_next next = FCGI_NEXT_CLOSE;

    assert(w->c == NULL && w->in.len >= w->body.ready);
    w->c = c;
    w->fd = fd;
    w->reply.len = 0;
    if (load_input(w, c) < 0) {
        next = FCGI_NEXT_CLOSE;
    }
    else if (c->linger_deadline_ms != 0) {
        next = linger(w, c, atomic_load(stop) != FCGI_GO_ON, ret_deadline_ms);
    }
    else {
        ssize_t n = c->conn.has_input ? 1 : fcgi_receive(w);
        c->conn.has_input = false;
        if (n == -EAGAIN) {
            next = park(w, c, ret_deadline_ms);
        }
        else if (n > 0) {
            next = serve_input(w, c, stop, ret_deadline_ms);
        }
    }
    if (w->in.cap > KEEP_INPUT) {
        buf_fini(&w->in);
    }
    if (w->head.cap > KEEP_INPUT) {
        buf_fini(&w->head);
    }
    w->c = NULL;
    w->fd = -1;
    return next;
}
