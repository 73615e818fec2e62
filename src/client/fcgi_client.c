/*
 * fcgi_client.c - sends a request, or FCGI_GET_VALUES, and reads the answer
 */
#include "client/fcgi_client.h"

#include "client/request_params.h"
#include "transport/fcgi_parser.h"

#include <assert.h>
#include <errno.h>
#include <fastcgi.h>
#include <poll.h>
#include <string.h>

enum {
    REQUEST_ID = 1,
    PIECE = 32 << 10, /* of the body in one record */
    IN_MAX = 2 * FCGI_RECORD_MAX,
    READ_STEP = 64 << 10,
    OUT_ROOM = 2 * PIECE, /* besides the variables */
};

struct exchange {
    struct connection *peer;
    struct upload *body;
    fcgi_client_sink sink;
    void *arg;
    struct buf out, in;
    size_t sent;       /* of out */
    bool body_ended;   /* the end of STDIN is in out */
    bool no_more_sent; /* the peer reads no more, but may still answer */
    bool begun;        /* bytes of STDOUT have arrived */
    bool done;
    struct fcgi_client_end end;
};

/* -- sending --------------------------------------------------------------- */

static int
add_record(struct buf *out, unsigned type, unsigned id, const void *bytes,
           size_t n)
{
    uint8_t h[FCGI_HEADER];

    fcgi_header(h, type, id, n);
    int e = buf_add(out, h, sizeof h);
    return e == 0 && n > 0 ? buf_add(out, bytes, n) : e;
}

static int
add_head(struct exchange *x, const struct buf *vars)
{
    const uint8_t begin[8] = {0, FCGI_RESPONDER};
    int e = add_record(&x->out, FCGI_BEGIN_REQUEST, REQUEST_ID, begin,
                       sizeof begin);

    for (size_t at = 0; e == 0 && at < vars->len;) {
        size_t n = vars->len - at < FCGI_PIECE ? vars->len - at : FCGI_PIECE;
        e = add_record(&x->out, FCGI_PARAMS, REQUEST_ID, vars->data + at, n);
        at += n;
    }
    return e == 0 ? add_record(&x->out, FCGI_PARAMS, REQUEST_ID, NULL, 0) : e;
}

/* Adds the next piece of the body when all before it has been sent. */
static int
refill(struct exchange *x)
{
    char piece[PIECE];

    if (x->sent < x->out.len || x->body_ended) {
        return 0;
    }
    ssize_t n = upload_read(x->body, piece, sizeof piece);
    if (n < 0) {
        x->end.body_failed = true;
        return (int)n;
    }
    x->body_ended = n == 0;
    x->out.len = x->sent = 0;
    return add_record(&x->out, FCGI_STDIN, REQUEST_ID, piece, (size_t)n);
}

static bool
has_to_send(const struct exchange *x)
{
    return !x->no_more_sent && (x->sent < x->out.len || !x->body_ended);
}

static int
send_some(struct exchange *x)
{
    int e = refill(x);
    if (e < 0) {
        return e;
    }
    assert(x->sent <= x->out.len);
    ssize_t n =
        connection_send(x->peer, x->out.data + x->sent, x->out.len - x->sent);
    if (n == -EPIPE || n == -ECONNRESET) {
        /* It may have answered without reading the body. */
        x->no_more_sent = true;
        return 0;
    }
    if (n == -EAGAIN) {
        return 0;
    }
    x->sent += n > 0 ? (size_t)n : 0;
    return n < 0 ? (int)n : 0;
}

/* -- receiving ------------------------------------------------------------- */

static int
take_record(struct exchange *x, const uint8_t *h)
{
    const char *content = (const char *)h + FCGI_HEADER;
    size_t n = fcgi_u16(h + 4);
    unsigned id = fcgi_u16(h + 2);

    if (id == 0 || x->body == NULL) {
        /* A management record, for which only fcgi_client_values() waits. */
        x->done = x->body == NULL &&
                  (h[1] == FCGI_GET_VALUES_RESULT || h[1] == FCGI_UNKNOWN_TYPE);
        return x->done || x->body != NULL ? 0 : -EPROTO;
    }
    if (id != REQUEST_ID) {
        return -EPROTO;
    }
    x->begun = x->begun || h[1] == FCGI_STDOUT;
    switch (h[1]) {
    case FCGI_STDOUT:
    case FCGI_STDERR:
        return n == 0 ? 0 : x->sink(x->arg, h[1] == FCGI_STDERR, content, n);
    case FCGI_END_REQUEST:
        x->end.protocol_status = n >= 5 ? (uint8_t)content[4] : 0;
        x->done = true;
        return n == 8 ? 0 : -EPROTO;
    default:
        return -EPROTO;
    }
}

/* -errno for a header with another version. 0 ends an incomplete answer: see
 * fcgi_break_off(). */
static int
other_version(const struct exchange *x, uint8_t version)
{
    return x->begun && version == 0 ? -ENODATA : -EPROTO;
}

static int
take_records(struct exchange *x)
{
    size_t at = 0;
    int e = 0;

    while (e == 0 && !x->done && x->in.len - at >= FCGI_HEADER) {
        const uint8_t *h = (const uint8_t *)x->in.data + at;
        size_t size = FCGI_HEADER + (size_t)fcgi_u16(h + 4) + h[6];
        if (h[0] != FCGI_VERSION_1) {
            return other_version(x, h[0]);
        }
        if (x->in.len - at < size) {
            break;
        }
        e = take_record(x, h);
        at += size;
    }
    assert(at <= x->in.len);
    buf_consume(&x->in, at);
    if (e == 0 && !x->done && x->in.len > 0 &&
        (uint8_t)x->in.data[0] != FCGI_VERSION_1) {
        /* Less than a header: the answer of an HTTP server, perhaps. */
        return other_version(x, (uint8_t)x->in.data[0]);
    }
    return e;
}

static int
receive_some(struct exchange *x)
{
    int e = buf_reserve(&x->in, READ_STEP);
    if (e < 0) {
        return e;
    }
    ssize_t n = connection_receive(x->peer, x->in.data + x->in.len, READ_STEP);
    if (n == -EAGAIN) {
        return 0;
    }
    if (n <= 0) {
        return n == 0 ? -ENODATA : (int)n;
    }
    x->in.len += (size_t)n;
    e = take_records(x);
    connection_renew(x->peer); /* the sink may have waited */
    return e;
}

static int
run(struct exchange *x)
{
    int e = 0;

    while (e == 0 && !x->done) {
        int events = connection_wait(x->peer, has_to_send(x) ? POLLIN | POLLOUT
                                                             : POLLIN);
        if (events < 0) {
            return events;
        }
        if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) {
            e = receive_some(x);
        }
        if (e == 0 && !x->done && (events & POLLOUT) != 0) {
            e = send_some(x);
        }
    }
    return e;
}

int
fcgi_client_request(struct connection *p, const struct buf *vars,
                    struct upload *body, fcgi_client_sink sink, void *arg,
                    struct fcgi_client_end *ret_end)
{
    struct exchange x = {.peer = p, .body = body, .sink = sink, .arg = arg};

    buf_init(&x.in, IN_MAX);
    buf_init(&x.out, vars->len + vars->len / 64 + OUT_ROOM);
    int e = add_head(&x, vars);
    if (e == 0) {
        e = run(&x);
    }
    buf_fini(&x.in);
    buf_fini(&x.out);
    *ret_end = x.end;
    return e;
}

int
fcgi_client_values(struct connection *p)
{
    struct exchange x = {.peer = p, .body_ended = true};
    struct buf names;
    int e;

    buf_init(&names, 256);
    buf_init(&x.in, IN_MAX);
    buf_init(&x.out, 512);
    e = request_params_add(&names, FCGI_MAX_CONNS, "", 0);
    e = e == 0 ? request_params_add(&names, FCGI_MPXS_CONNS, "", 0) : e;
    e = e == 0 ? add_record(&x.out, FCGI_GET_VALUES, 0, names.data, names.len)
               : e;
    e = e == 0 ? run(&x) : e;
    buf_fini(&names);
    buf_fini(&x.in);
    buf_fini(&x.out);
    return e;
}
