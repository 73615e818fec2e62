/*
 * relay.c - passes a CGI request on to a FastCGI application
 *
 * Two directions, one thread. The body is read only where the connection takes
 * more of it, and the response only where the piece before has been written:
 * cgi.c sets the body aside meanwhile, if the web server sends all of it before
 * it reads anything.
 */
#include "client/relay.h"

#include "client/client_response.h"
#include "client/fcgi_records.h"
#include "gateway/response.h"
#include "gateway/transport.h"
#include "os/log.h"
#include "text/num.h"
#include "transport/cgi.h"
#include "transport/fcgi.h"

#include <assert.h>
#include <errno.h>
#include <fastcgi.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum {
    PIECE = 32 << 10,          /* of the body, in one record */
    RECEIVE_ROOM = 64 << 10,   /* of the response, in one recv() */
    OUT_ROOM = 2 * PIECE + 64, /* besides the variables */
    HEAD_MAX = 4 << 20,        /* of a response; client_response.c takes less */
    /* The application takes all or nothing. */
    WHOLE_MAX = FCGI_WHOLE_MAX,
    WHOLE_SURE = 2048, /* with any size of the socket's buffer */
    SNDBUF_LOSS = 64,  /* of half of it */
    LOOK_MAX_MS = 8
};

struct relay {
    struct request *q;
    struct connection *peer;
    const struct relay_patience *patience; /* or NULL */
    bool is_whole;   /* the request left in one send(), of at most WHOLE_MAX */
    bool is_with_us; /* nobody has read it, and now nobody begins it */
    bool is_taken;   /* the application has read all of it */
    bool is_held;    /* the last record of the head does not leave yet */
    int64_t look_ms; /* of a held request: the pause before the next look */
    int64_t held_ms; /* ... and how long it has waited since is_busy() */
    struct buf out;
    size_t sent;       /* of out */
    size_t head;       /* bytes of BEGIN_REQUEST and PARAMS in out */
    bool head_is_sent; /* so the application may begin */
    bool body_failed;  /* it cannot be read to its end */
    bool body_ended;   /* the end of STDIN is, or was, in out */
    bool no_more_sent; /* the application reads no more, but may answer */
    unsigned npieces;  /* of the body that were read ... */
    size_t piece_at;   /* ... the last one is there in out */
    struct fcgi_reader reader;
    struct client_response answer;
    struct buf head_lines; /* to be written, and then ... */
    char *in;              /* RECEIVE_ROOM bytes, the caller's */
    char *pending;         /* ... the part of in that is of the body */
    size_t npending;
    bool has_length; /* the head has Content-Length, and it is ... */
    uint64_t length;
    struct relay_end end;
};

/* -- the body -------------------------------------------------------------- */

/* Adds a record with the body's next piece, read in place, and the end of STDIN
 * where that was the last one. */
static int
add_piece(struct relay *x)
{
    size_t at = x->out.len;
    ssize_t n = 0;

    if (!cgi_body_is_over(x->q)) {
        int e = buf_reserve(&x->out, FCGI_HEADER + PIECE + FCGI_HEADER);
        if (e < 0) {
            return e;
        }
        n = cgi_body_take(x->q, x->out.data + at + FCGI_HEADER, PIECE);
    }
    if (n < 0) {
        x->body_failed = n != -EAGAIN;
        return 0;
    }
    if (n > 0) {
        x->npieces++;
        x->piece_at = at;
        fcgi_header((uint8_t *)x->out.data + at, FCGI_STDIN, FCGI_REQUEST_ID,
                    (size_t)n);
        x->out.len += FCGI_HEADER + (size_t)n;
    }
    x->body_ended = n == 0 || cgi_body_is_over(x->q);
    return x->body_ended
               ? fcgi_records_add(&x->out, FCGI_STDIN, FCGI_REQUEST_ID, NULL, 0)
               : 0;
}

/* How much of out may leave. */
static size_t
sendable(const struct relay *x)
{
    return x->is_held ? x->head - FCGI_HEADER : x->out.len;
}

static bool
has_unsent(const struct relay *x)
{
    return !x->no_more_sent && x->sent < sendable(x);
}

static bool
wants_body(const struct relay *x)
{
    return !x->no_more_sent && x->sent == x->out.len && !x->body_ended &&
           !x->body_failed;
}

/* The kernel cuts what one send() has into pieces where it is longer, and an
 * application that waits may read the first one before the second is there. */
static bool
is_one_piece(const struct relay *x)
{
    int buffer;
    socklen_t len = sizeof buffer;

    return x->out.len <= WHOLE_SURE ||
           (x->out.len <= WHOLE_MAX &&
            getsockopt(x->peer->fd, SOL_SOCKET, SO_SNDBUF, &buffer, &len) ==
                0 &&
            x->out.len <= (size_t)buffer / 2 - SNDBUF_LOSS);
}

static int
send_some(struct relay *x)
{
    if (!has_unsent(x)) {
        return 0;
    }
    bool is_first = !x->head_is_sent && x->sent == 0;
    ssize_t n = send(x->peer->fd, x->out.data + x->sent, sendable(x) - x->sent,
                     MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
        int e = -errno;
        /* It may have answered without reading the body. */
        x->no_more_sent = e == -EPIPE || e == -ECONNRESET;
        return x->no_more_sent || e == -EAGAIN || e == -EINTR ? 0 : e;
    }
    x->sent += (size_t)n;
    assert(x->sent <= x->out.len);
    x->head_is_sent = x->head_is_sent || x->sent >= x->head;
    x->is_whole =
        is_first && x->body_ended && x->sent == x->out.len && is_one_piece(x);
    return 0;
}

/* The application sees that the request broke off, and may answer. */
static void
break_off(struct relay *x)
{
    (void)shutdown(x->peer->fd, SHUT_WR);
    x->no_more_sent = true;
}

/* Reads and sends the body as far as that needs no waiting. */
static int
feed(struct relay *x, bool is_readable)
{
    int e = send_some(x);

    while (e == 0 && wants_body(x) && (is_readable || cgi_body_fd(x->q) < 0)) {
        x->out.len = x->sent = 0;
        is_readable = false;
        e = add_piece(x);
        e = e == 0 ? send_some(x) : e;
    }
    if (x->body_failed && !has_unsent(x) && !x->no_more_sent) {
        break_off(x);
    }
    return e;
}

/* -- the response ---------------------------------------------------------- */

/* The web server may count the bytes, and end us with SIGTERM after the last
 * one. */
static bool
is_last_piece(const struct relay *x)
{
    return x->reader.is_done ||
           (x->has_length && x->end.sent + x->npending >= x->length);
}

static void
note_length(struct relay *x)
{
    const char *text = client_response_header(&x->answer, "Content-Length");
    size_t n = text == NULL ? 0 : strspn(text, "0123456789");

    x->has_length = n > 0 && num_parse(text, n, INT64_MAX, &x->length) == 0;
}

static int
add_status(struct buf *to, const struct client_response *a, bool is_nph)
{
    if (is_nph) {
        return buf_printf(to, "HTTP/1.1 %d %s\r\n", a->status, a->reason);
    }
    /* Without one the web server finds out itself what it is. */
    const char *status = client_response_header(a, "Status");
    return status == NULL ? 0 : buf_printf(to, "Status: %s\r\n", status);
}

/* Puts Status first: FastCGI may have it anywhere, and busybox httpd reads it
 * nowhere else. */
static int
make_head(struct client_response *a)
{
    struct relay *x = a->arg;
    bool is_nph = x->q->transport->is_nph;
    int e = add_status(&x->head_lines, a, is_nph);

    note_length(x);
    for (size_t at = 0; e == 0 && at < a->head.len;
         at += strlen(a->head.data + at) + 1) {
        const char *line = a->head.data + at;
        if (strncasecmp(line, "Status:", 7) != 0) {
            e = buf_printf(&x->head_lines, "%s\r\n", line);
        }
    }
    if (e == 0 && is_nph) {
        e = buf_add_str(&x->head_lines, "Connection: close\r\n");
    }
    return e == 0 ? buf_add_str(&x->head_lines, "\r\n") : e;
}

/* RFC 3875, 4.3.3: not for HEAD, and a server that passes a nph-* script on as
 * it is would send it as the next response. */
static bool
may_have_body(const struct relay *x)
{
    int status = x->answer.status;

    return !x->q->response.is_head && status >= 200 && status != 204 &&
           status != 304;
}

/* Keeps the bytes, which are in x->in, next to those before them. */
static int
keep_body(struct client_response *a, const char *bytes, size_t n)
{
    struct relay *x = a->arg;
    char *from = x->in + (bytes - x->in);

    assert(bytes >= x->in && bytes + n <= x->in + RECEIVE_ROOM);
    if (!may_have_body(x)) {
        return 0;
    }
    if (x->npending == 0) {
        x->pending = from;
    }
    else {
        memmove(x->pending + x->npending, from, n);
    }
    x->npending += n;
    return 0;
}

static int
write_errors(struct client_response *a, const char *bytes, size_t n)
{
    const struct relay *x = a->arg;

    log_output(log_is_own() ? request_id(x->q) : NULL, bytes, n);
    return 0;
}

static int
flush(struct relay *x)
{
    struct iovec v[2] = {{x->head_lines.data, x->head_lines.len},
                         {x->pending, x->npending}};

    if (x->head_lines.len + x->npending == 0) {
        return 0;
    }
    int flags = is_last_piece(x) ? SEND_END : 0;
    x->end.has_output = true;
    x->end.sent += x->npending;
    int e = x->q->transport->send(x->q, v, ARRAY_SIZE(v), flags);
    x->end.is_server_gone = e < 0;
    x->head_lines.len = x->npending = 0;
    return e;
}

/* -- the exchange ---------------------------------------------------------- */

static int
receive(struct relay *x)
{
    ssize_t n = recv(x->peer->fd, x->in, RECEIVE_ROOM, MSG_DONTWAIT);

    if (n < 0) {
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    }
    if (n == 0) {
        return -ENODATA;
    }
    int e = fcgi_reader_take(&x->reader, x->in, (size_t)n);
    int e_flush = flush(x);
    return e_flush < 0 ? e_flush : e;
}

/* -- giving up ------------------------------------------------------------- */

bool
relay_may_repeat(const struct request *q)
{
    return params_is(&q->params, "REQUEST_METHOD", "GET") ||
           params_is(&q->params, "REQUEST_METHOD", "HEAD");
}

static bool
is_unread(const struct relay *x)
{
    int n;

    return ioctl(x->peer->fd, SIOCOUTQ, &n) == 0 && n > 0;
}

static bool
may_take_back(const struct relay *x)
{
    bool may_run_twice = x->npieces == 0 && relay_may_repeat(x->q);

    return !x->no_more_sent && !x->end.has_output &&
           (x->is_whole || x->is_held || may_run_twice);
}

/* True where the request is still in the socket's buffer. Who reads it from now
 * on also reads its end, and does not begin it. */
static bool
take_back(struct relay *x)
{
    break_off(x);
    x->is_with_us = is_unread(x);
    return x->is_with_us;
}

/* After patience->ms without a byte. To ask costs the other side more than to
 * look: a request that takes long must not ask all the time. */
static int
lose_patience(struct relay *x)
{
    if (!may_take_back(x)) {
        return 0;
    }
    if (!is_unread(x)) {
        x->is_taken = !x->is_held && !has_unsent(x);
        return 0;
    }
    return x->patience->is_busy(x->patience->arg) && is_unread(x) &&
                   take_back(x)
               ? -ETIME
               : 0;
}

/* A request that is not whole, with more body than one piece or with one that is
 * still to come, could not be taken back: so its head is not complete before the
 * application has read what there is of it. Nothing wakes us when it does. */
static void
hold(struct relay *x)
{
    bool may_be_whole = x->body_ended && is_one_piece(x);

    x->is_held = x->patience != NULL && !may_be_whole;
    x->look_ms = 1;
}

static int
look(struct relay *x)
{
    if (!x->is_held) {
        return lose_patience(x);
    }
    if (!has_unsent(x) && !is_unread(x)) {
        x->is_held = false;
        return 0;
    }
    x->held_ms += x->look_ms;
    x->look_ms = x->look_ms < LOOK_MAX_MS ? 2 * x->look_ms : LOOK_MAX_MS;
    if (x->held_ms < x->patience->ms) {
        return 0;
    }
    x->held_ms = 0;
    return lose_patience(x);
}

/* An instance that ended with the request unread has read nothing of it. */
static void
note_reset(struct relay *x, int err)
{
    x->is_with_us = x->is_with_us ||
                    (x->patience != NULL && err == -ECONNRESET && x->is_whole);
}

static int
patience_ms(const struct relay *x)
{
    return x->patience == NULL || x->end.has_output || x->is_taken ? -1
           : x->is_held ? (int)x->look_ms
                        : (int)x->patience->ms;
}

static int
exchange(struct relay *x)
{
    /* Where there is no body, or some of it is here, it leaves with the head. */
    struct pollfd body = {.fd = cgi_body_fd(x->q), .events = POLLIN};
    bool is_readable = body.fd < 0 || poll(&body, 1, 0) > 0;
    int e = is_readable ? add_piece(x) : 0;

    is_readable = false;
    hold(x);
    while (e == 0 && (e = feed(x, is_readable)) == 0) {
        struct pollfd p[2] = {
            {.fd = x->peer->fd,
             .events = (short)(has_unsent(x) ? POLLIN | POLLOUT : POLLIN)},
            {.fd = wants_body(x) ? cgi_body_fd(x->q) : -1, .events = POLLIN}};
        int n = poll(p, ARRAY_SIZE(p), patience_ms(x));
        if (n <= 0) {
            e = n == 0 ? look(x) : errno == EINTR ? 0 : -errno;
            continue;
        }
        is_readable = p[1].revents != 0;
        if ((p[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
            e = receive(x);
            if (x->reader.is_done) {
                break;
            }
        }
    }
    return e;
}

static enum relay_stage
stage(const struct relay *x)
{
    if (x->reader.is_done &&
        x->reader.protocol_status == FCGI_REQUEST_COMPLETE) {
        return x->end.is_server_gone ? RELAY_IN_PART : RELAY_DONE;
    }
    if (x->end.has_output) {
        return RELAY_IN_PART;
    }
    return x->reader.is_done || !x->head_is_sent || x->is_with_us
               ? RELAY_NOT_BEGUN
               : RELAY_UNANSWERED;
}

/* What was read of the body, if it is still here, can be read again. */
static bool
put_body_back(struct relay *x)
{
    if (x->npieces != 1) {
        return x->npieces == 0;
    }
    const uint8_t *h = (const uint8_t *)x->out.data + x->piece_at;
    return cgi_body_put_back(x->q, h + FCGI_HEADER, fcgi_u16(h + 4)) == 0;
}

void
relay_run(struct request *q, struct connection *p, const struct buf *vars,
          const struct relay_patience *patience, struct relay_end *ret_end)
{
    char in[RECEIVE_ROOM];
    struct relay x = {.q = q, .peer = p, .patience = patience, .in = in};

    client_response_init(&x.answer);
    x.answer.on_head = make_head;
    x.answer.on_body = keep_body;
    x.answer.on_errors = write_errors;
    x.answer.arg = &x;
    x.reader.sink = client_response_take;
    x.reader.arg = &x.answer;
    buf_init(&x.head_lines, HEAD_MAX);
    buf_init(&x.out, vars->len + vars->len / 64 + OUT_ROOM);
    int e = fcgi_records_add_head(&x.out, vars);
    x.head = x.out.len;
    if (e == 0) {
        e = exchange(&x);
    }
    note_reset(&x, e);
    x.end.err = e;
    x.end.stage = stage(&x);
    x.end.protocol_status = x.reader.protocol_status;
    x.end.status = x.answer.status;
    x.end.app_status = x.reader.app_status;
    x.end.is_logged = x.reader.is_broken_off;
    x.end.body_begun = x.npieces > 0;
    x.end.body_lost =
        x.end.stage == RELAY_NOT_BEGUN ? !put_body_back(&x) : true;
    buf_fini(&x.out);
    buf_fini(&x.head_lines);
    client_response_fini(&x.answer);
    *ret_end = x.end;
}
