/*
 * control.c - the control socket: status and ping while all workers are busy
 *
 * One epoll descriptor watches the listener, the connections and a timer for
 * the next deadline, so that the owner needs to watch only that one. A
 * connection is either read from or written to: a client that does not read its
 * responses cannot make us keep more of them.
 */
#include "status/control.h"

#include "base/buf.h"
#include "base/clock.h"
#include "gateway/params.h"
#include "net/acl.h"
#include "net/listener.h"
#include "os/fd.h"
#include "os/log.h"
#include "status/status.h"
#include "transport/fcgi_parser.h"

#include <assert.h>
#include <errno.h>
#include <fastcgi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sysexits.h>

enum {
    CONNS_MAX = 32,
    READ_STEP = 16 << 10,
    IN_ROOM = 4 * FCGI_RECORD_MAX, /* in addition to the head */
    STEPS_MAX = 16,                /* reads of one connection in one run */
    OUT_MAX = 20 << 20,            /* a page with its record headers */
    LINGER_MS = 2000,
    PAUSE_MS = 200, /* after running out of descriptors */
    EVENTS = 16,
};

/* epoll returns these, or the index of a connection. */
enum { TAG_LISTENER = CONNS_MAX, TAG_TIMER };

enum phase {
    PHASE_FREE,
    PHASE_READ,  /* waits for a request or for the rest of one */
    PHASE_WRITE, /* out is being sent */
    PHASE_LINGER /* all is sent; waits for the client to close */
};

struct control_conn {
    enum phase phase;
    int fd;
    bool ends; /* no request follows this one */
    int64_t deadline_ms;
    uint64_t turn; /* control.turns when it last made progress */
    struct fcgi_parser parser;
    struct buf in, out;
    size_t sent; /* of out */
};

struct control {
    const struct config *config;
    struct status_source from;
    struct listener listener;
    struct acl allow;
    struct fcgi_limits limits;
    int epoll_fd, timer_fd;
    int64_t timer_ms; /* what the timer is set to, 0 = off */
    uint64_t turns;
    int64_t paused_ms; /* accepts no connection until then, 0 = accepts */
    struct control_conn conns[CONNS_MAX];
};

/* -- epoll ----------------------------------------------------------------- */

static int
watch(struct control *c, int op, int fd, uint32_t events, unsigned tag)
{
    struct epoll_event e = {.events = events, .data.u32 = tag};
    return epoll_ctl(c->epoll_fd, op, fd, &e) < 0 ? -errno : 0;
}

static unsigned
tag_of(const struct control *c, const struct control_conn *p)
{
    return (unsigned)(p - c->conns);
}

/* Closing alone is not enough: a worker that was forked a moment ago may still
 * have copies of the descriptor. */
static void
close_conn(struct control *c, struct control_conn *p)
{
    assert(p->phase != PHASE_FREE && p->fd >= 0);
    (void)watch(c, EPOLL_CTL_DEL, p->fd, 0, 0);
    (void)shutdown(p->fd, SHUT_RDWR);
    p->phase = PHASE_FREE; /* before closing: a child may be forked now */
    fd_close(&p->fd);
    buf_fini(&p->in);
    buf_fini(&p->out);
}

/* -- one answer ------------------------------------------------------------ */

static int
add_stream(struct buf *out, unsigned type, unsigned id, const char *bytes,
           size_t n)
{
    uint8_t h[FCGI_HEADER];
    int e = 0;

    while (e == 0 && n > 0) {
        size_t piece = n < FCGI_PIECE ? n : FCGI_PIECE;
        assert(piece <= FCGI_MAX_LENGTH);
        fcgi_header(h, type, id, piece);
        e = buf_add(out, h, sizeof h);
        if (e == 0) {
            e = buf_add(out, bytes, piece);
        }
        bytes += piece;
        n -= piece;
    }
    return e;
}

static int
add_end(struct buf *out, unsigned id, unsigned protocol_status)
{
    uint8_t r[FCGI_HEADER + 8] = {0};

    fcgi_header(r, FCGI_END_REQUEST, id, 8);
    r[FCGI_HEADER + 4] = (uint8_t)protocol_status;
    return buf_add(out, r, sizeof r);
}

static int
add_head(struct buf *head, const struct status_reply *r)
{
    int e = buf_printf(head,
                       "Status: %s\r\nContent-Type: %s\r\n"
                       "Content-Length: %zu\r\n",
                       r->status, r->type, r->body.len);

    if (e == 0 && r->allow != NULL) {
        e = buf_printf(head, "Allow: %s\r\n", r->allow);
    }
    for (size_t i = 0; e == 0 && i < status_nheaders; i++) {
        e = buf_printf(head, "%s: %s\r\n", status_headers[i].name,
                       status_headers[i].value);
    }
    return e == 0 ? buf_add_str(head, "\r\n") : e;
}

static int
add_reply(struct control_conn *p, const struct status_reply *r, bool is_head)
{
    uint8_t end[FCGI_HEADER];
    struct buf text;
    int e;

    buf_init(&text, OUT_MAX);
    e = add_head(&text, r);
    if (e == 0 && !is_head) {
        e = buf_add(&text, r->body.data, r->body.len);
    }
    if (e == 0) {
        e = add_stream(&p->out, FCGI_STDOUT, p->parser.id, text.data, text.len);
    }
    buf_fini(&text);
    fcgi_header(end, FCGI_STDOUT, p->parser.id, 0);
    return e == 0 ? buf_add(&p->out, end, sizeof end) : e;
}

static int
read_params(const struct control *c, const struct control_conn *p,
            struct params *to)
{
    return fcgi_params_add(to,
                           (const uint8_t *)p->in.data + p->parser.params_at,
                           p->parser.params_len,
                           (enum params_fault)p->parser.fault, c->limits.vars);
}

static int
make_reply(struct control *c, const struct control_conn *p,
           const struct params *params, struct status_reply *r)
{
    enum params_fault fault = (enum params_fault)p->parser.fault;

    if (fault != PARAMS_OK) {
        log_info("--control: %.3s: %s", params_refusal(fault)->status,
                 params_refusal(fault)->reason);
        return status_reply_refuse(r, fault);
    }
    bool ping = params_path_is(params, "/ping") ||
                (c->config->ping_path != NULL &&
                 params_path_is(params, c->config->ping_path));
    return status_reply_make(r, &c->from, 0, params, ping);
}

/* The request's head is complete, or too large. Its body does not matter: the
 * parser drops the records of a request that has ended. */
static int
answer(struct control *c, struct control_conn *p)
{
    struct params params;
    struct status_reply r;
    size_t before = p->out.len;
    int e;

    p->ends = !p->parser.keep || p->parser.fault == PARAMS_TOO_LARGE;
    if (p->parser.role != FCGI_RESPONDER) {
        return add_end(&p->out, p->parser.id, FCGI_UNKNOWN_ROLE);
    }
    params_init(&params);
    e = read_params(c, p, &params);
    if (e == 0) {
        e = make_reply(c, p, &params, &r);
        if (e == 0) {
            e = add_reply(p, &r, params_is(&params, "REQUEST_METHOD", "HEAD"));
        }
        status_reply_fini(&r);
    }
    params_fini(&params);
    if (e == 0) {
        return add_end(&p->out, p->parser.id, FCGI_REQUEST_COMPLETE);
    }
    p->out.len = before;
    return add_end(&p->out, p->parser.id, FCGI_OVERLOADED);
}

/* -- one connection -------------------------------------------------------- */

static void
await(struct control *c, struct control_conn *p, enum phase phase,
      int64_t timeout_ms)
{
    p->deadline_ms = clock_ms() + timeout_ms;
    p->turn = ++c->turns;
    if (p->phase == phase) {
        return;
    }
    p->phase = phase;
    if (watch(c, EPOLL_CTL_MOD, p->fd,
              phase == PHASE_WRITE ? EPOLLOUT : EPOLLIN, tag_of(c, p)) < 0) {
        close_conn(c, p);
    }
}

/* Closing a connection with unread bytes would reset it, and the client could
 * lose the end of the response. */
static void
linger(struct control *c, struct control_conn *p)
{
    char waste[READ_STEP];

    if (p->phase != PHASE_LINGER) {
        (void)shutdown(p->fd, SHUT_WR);
        await(c, p, PHASE_LINGER, LINGER_MS);
        if (p->phase == PHASE_FREE) {
            return;
        }
    }
    for (int i = 0; i < STEPS_MAX; i++) {
        ssize_t n = recv(p->fd, waste, sizeof waste, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            close_conn(c, p);
            return;
        }
        if (n < 0) {
            return;
        }
    }
}

/* False: the connection has to wait, or is closed. */
static bool
flush(struct control *c, struct control_conn *p)
{
    while (p->sent < p->out.len) {
        ssize_t n = send(p->fd, p->out.data + p->sent, p->out.len - p->sent,
                         MSG_NOSIGNAL);
        if (n > 0) {
            p->sent += (size_t)n;
            continue;
        }
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            await(c, p, PHASE_WRITE, c->config->write_timeout_ms);
        }
        else {
            close_conn(c, p);
        }
        return false;
    }
    assert(p->sent == p->out.len);
    buf_fini(&p->out);
    p->sent = 0;
    if (p->ends) {
        linger(c, p);
        return false;
    }
    return true;
}

/* Answers the requests that have arrived, one by one. False: the connection has
 * to wait for the client to read, or is closed. */
static bool
serve(struct control *c, struct control_conn *p)
{
    for (;;) {
        enum fcgi_parser_result r =
            fcgi_parser_scan(&p->parser, &p->in, &p->out, &c->limits);
        if (r == FCGI_PARSER_CLOSE ||
            (r == FCGI_PARSER_READY && answer(c, p) < 0)) {
            p->ends = true;
        }
        if (r == FCGI_PARSER_READY) {
            fcgi_parser_reset(&p->parser, 0, true);
            fcgi_parser_compact(&p->parser, &p->in);
        }
        if (!flush(c, p)) {
            return false;
        }
        if (r != FCGI_PARSER_READY) {
            return true;
        }
        await(c, p, PHASE_READ, c->config->keepalive_timeout_ms);
        if (p->phase == PHASE_FREE) {
            return false;
        }
    }
}

/* The first byte of a request starts the timeout for its head. */
static void
receive(struct control *c, struct control_conn *p)
{
    for (int i = 0; i < STEPS_MAX; i++) {
        bool was_idle = p->parser.id == 0 && p->in.len == 0;
        if (buf_reserve(&p->in, READ_STEP) < 0) {
            close_conn(c, p);
            return;
        }
        ssize_t n = recv(p->fd, p->in.data + p->in.len, READ_STEP, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            close_conn(c, p);
            return;
        }
        if (n < 0) {
            break;
        }
        p->in.len += (size_t)n;
        if (was_idle) {
            await(c, p, PHASE_READ, c->config->head_timeout_ms);
        }
        if (!serve(c, p)) {
            return;
        }
    }
    if (p->parser.id == 0 && p->in.len == 0) {
        buf_fini(&p->in); /* an idle connection keeps no memory */
    }
}

static void
resume_writing(struct control *c, struct control_conn *p)
{
    if (!flush(c, p)) {
        return;
    }
    await(c, p, PHASE_READ, c->config->keepalive_timeout_ms);
    if (p->phase == PHASE_READ && serve(c, p)) {
        receive(c, p);
    }
}

static void
step(struct control *c, struct control_conn *p)
{
    switch (p->phase) {
    case PHASE_FREE:
        break; /* closed by an earlier event of this round */
    case PHASE_READ:
        receive(c, p);
        break;
    case PHASE_WRITE:
        resume_writing(c, p);
        break;
    case PHASE_LINGER:
        linger(c, p);
        break;
    }
}

/* -- new connections ------------------------------------------------------- */

/* A free place. If there is none, the connection that has made no progress for
 * the longest time is closed, since a health check must get through. */
static struct control_conn *
make_room(struct control *c)
{
    struct control_conn *oldest = &c->conns[0];

    for (struct control_conn *p = c->conns; p < c->conns + CONNS_MAX; p++) {
        if (p->phase == PHASE_FREE) {
            return p;
        }
        if (p->turn < oldest->turn) {
            oldest = p;
        }
    }
    close_conn(c, oldest);
    return oldest;
}

static void
pause_listening(struct control *c)
{
    c->paused_ms = clock_ms() + PAUSE_MS;
    (void)watch(c, EPOLL_CTL_MOD, c->listener.fd, 0, TAG_LISTENER);
}

static void
admit(struct control *c, int fd)
{
    struct control_conn *p = make_room(c);

    assert(p->phase == PHASE_FREE);
    *p = (struct control_conn){
        .phase = PHASE_READ, .fd = fd, .turn = ++c->turns};
    p->deadline_ms = clock_ms() + c->config->head_timeout_ms;
    buf_init(&p->in, (size_t)c->limits.head + IN_ROOM);
    buf_init(&p->out, OUT_MAX);
    if (watch(c, EPOLL_CTL_ADD, fd, EPOLLIN, tag_of(c, p)) < 0) {
        close_conn(c, p);
        return;
    }
    receive(c, p); /* most requests arrive together with the connection */
}

static void
accept_some(struct control *c)
{
    for (int i = 0; i < STEPS_MAX; i++) {
        struct sockaddr_storage from = {0};
        socklen_t len = sizeof from;
        void *to = &from;
        int fd =
            accept4(c->listener.fd, to, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
                errno == ENOMEM) {
                pause_listening(c);
            }
            if (errno != ECONNABORTED && errno != EINTR) {
                return;
            }
        }
        else if (!acl_peer(&c->allow, &from)) {
            acl_log_refused(&from);
            fd_close(&fd);
        }
        else if (c->config->is_warm && !acl_peer_is_ours(fd)) {
            fd_close(&fd);
        }
        else {
            admit(c, fd);
        }
    }
}

/* -- deadlines ------------------------------------------------------------- */

static void
expire(struct control *c)
{
    int64_t now = clock_ms();

    for (struct control_conn *p = c->conns; p < c->conns + CONNS_MAX; p++) {
        if (p->phase != PHASE_FREE && p->deadline_ms <= now) {
            close_conn(c, p);
        }
    }
    if (c->paused_ms != 0 && c->paused_ms <= now) {
        c->paused_ms = 0;
        (void)watch(c, EPOLL_CTL_MOD, c->listener.fd, EPOLLIN, TAG_LISTENER);
    }
}

static void
set_timer(struct control *c)
{
    int64_t next = c->paused_ms;

    for (struct control_conn *p = c->conns; p < c->conns + CONNS_MAX; p++) {
        if (p->phase != PHASE_FREE && (next == 0 || p->deadline_ms < next)) {
            next = p->deadline_ms;
        }
    }
    /* A time in the past fires at once; only 0, never a clock_ms(), is
     * "off". */
    if (next != c->timer_ms) {
        struct itimerspec t = {
            .it_value = {next / 1000, next % 1000 * 1000000}};
        (void)timerfd_settime(c->timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
        c->timer_ms = next;
    }
}

/* -- the socket ------------------------------------------------------------ */

static int
open_epoll(struct control *c)
{
    c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    c->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (c->epoll_fd < 0 || c->timer_fd < 0) {
        return -errno;
    }
    int e = watch(c, EPOLL_CTL_ADD, c->timer_fd, EPOLLIN, TAG_TIMER);
    return e < 0
               ? e
               : watch(c, EPOLL_CTL_ADD, c->listener.fd, EPOLLIN, TAG_LISTENER);
}

int
control_open(const struct status_source *from, int inherited_fd,
             const struct stat *file, struct control **ret_control)
{
    const struct config *config = from->config;
    struct control *c = calloc(1, sizeof *c);
    int e = 0;

    if (c == NULL) {
        log_error("--control: out of memory");
        return EX_OSERR;
    }
    c->config = config;
    c->from = *from;
    c->epoll_fd = c->timer_fd = c->listener.fd = -1;
    c->limits = (struct fcgi_limits){.head = config->limit_head,
                                     .vars = config->limit_vars,
                                     .max_conns = CONNS_MAX,
                                     .max_reqs = CONNS_MAX};
    for (size_t i = 0; e == 0 && i < config->allow.n; i++) {
        e = acl_add(&c->allow, config->allow.v[i]);
    }
    if (e < 0) {
        log_error("--control: --allow cannot be read: %s", strerror(-e));
        e = EX_USAGE;
    }
    else if (inherited_fd >= 0) {
        e = listener_inherit(&c->listener, inherited_fd, config->control, file);
    }
    else {
        e = listener_bind(&c->listener, "--control", config->control, config,
                          &c->allow);
    }
    if (e == 0 && (e = open_epoll(c)) < 0) {
        log_error("--control: %s", strerror(-e));
        e = EX_OSERR;
    }
    if (e != 0) {
        control_close(&c);
        return e;
    }
    *ret_control = c;
    return 0;
}

int
control_fd(const struct control *c)
{
    return c->epoll_fd;
}

const struct listener *
control_listener(const struct control *c)
{
    return &c->listener;
}

void
control_run(struct control *c)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(c->epoll_fd, events, EVENTS, 0);

    for (int i = 0; i < n; i++) {
        unsigned tag = events[i].data.u32;
        if (tag == TAG_LISTENER) {
            accept_some(c);
        }
        else if (tag < CONNS_MAX) {
            step(c, &c->conns[tag]);
        }
    }
    expire(c);
    set_timer(c);
}

static void
release(struct control **c, bool is_owner)
{
    if (*c == NULL) {
        return;
    }
    for (struct control_conn *p = (*c)->conns; p < (*c)->conns + CONNS_MAX;
         p++) {
        if (p->phase == PHASE_FREE) {
            continue;
        }
        if (is_owner) {
            close_conn(*c, p);
            continue;
        }
        /* The process that forked us keeps the connection. */
        fd_close(&p->fd);
        buf_fini(&p->in);
        buf_fini(&p->out);
    }
    listener_close(&(*c)->listener, is_owner);
    fd_close(&(*c)->timer_fd);
    fd_close(&(*c)->epoll_fd);
    acl_fini(&(*c)->allow);
    free(*c);
    *c = NULL;
}

void
control_forget(struct control **c)
{
    release(c, false);
}

void
control_close_in_child(struct control *c)
{
    if (c == NULL) {
        return;
    }
    for (struct control_conn *p = c->conns; p < c->conns + CONNS_MAX; p++) {
        if (p->phase != PHASE_FREE) {
            fd_close(&p->fd);
        }
    }
    fd_close(&c->listener.fd);
    fd_close(&c->timer_fd);
    fd_close(&c->epoll_fd);
}

void
control_close(struct control **c)
{
    release(c, true);
}
