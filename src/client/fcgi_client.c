/*
 * fcgi_client.c - sends a request, or FCGI_GET_VALUES, and reads the answer
 */
#include "client/fcgi_client.h"

#include "client/request_params.h"

#include <assert.h>
#include <errno.h>
#include <fastcgi.h>
#include <poll.h>

enum {
    PIECE = 32 << 10, /* of the body in one record */
    READ_STEP = 64 << 10,
    OUT_ROOM = 2 * PIECE, /* besides the variables */
};

struct exchange {
    struct connection *peer;
    struct upload *body;
    struct fcgi_reader reader;
    struct buf out, in;
    size_t sent;       /* of out */
    bool body_ended;   /* the end of STDIN is in out */
    bool no_more_sent; /* the peer reads no more, but may still answer */
    bool body_failed;  /* reading the body failed, not the connection */
};

/* -- sending --------------------------------------------------------------- */

static int
add_body(struct exchange *x)
{
    char piece[PIECE];
    ssize_t n = upload_read(x->body, piece, sizeof piece);
    if (n < 0) {
        x->body_failed = true;
        return (int)n;
    }
    x->body_ended = n == 0;
    return fcgi_records_add(&x->out, FCGI_STDIN, FCGI_REQUEST_ID, piece,
                            (size_t)n);
}

/* Adds the next piece of the body when all before it has been sent. */
static int
refill(struct exchange *x)
{
    if (x->sent < x->out.len || x->body_ended) {
        return 0;
    }
    x->out.len = x->sent = 0;
    return add_body(x);
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
receive_some(struct exchange *x)
{
    int e = buf_reserve(&x->in, READ_STEP);
    if (e < 0) {
        return e;
    }
    ssize_t n = connection_receive(x->peer, x->in.data, READ_STEP);
    if (n == -EAGAIN) {
        return 0;
    }
    if (n <= 0) {
        return n == 0 ? -ENODATA : (int)n;
    }
    e = fcgi_reader_take(&x->reader, x->in.data, (size_t)n);
    connection_renew(x->peer); /* the sink may have waited */
    return e;
}

static int
run(struct exchange *x)
{
    int e = 0;

    while (e == 0 && !x->reader.is_done) {
        int events = connection_wait(x->peer, has_to_send(x) ? POLLIN | POLLOUT
                                                             : POLLIN);
        if (events < 0) {
            return events;
        }
        if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) {
            e = receive_some(x);
        }
        if (e == 0 && !x->reader.is_done && (events & POLLOUT) != 0) {
            e = send_some(x);
        }
    }
    return e;
}

int
fcgi_client_request(struct connection *p, const struct buf *vars,
                    struct upload *body, fcgi_records_sink sink, void *arg,
                    struct fcgi_client_end *ret_end)
{
    struct exchange x = {
        .peer = p, .body = body, .reader = {.sink = sink, .arg = arg}};

    buf_init(&x.in, READ_STEP);
    buf_init(&x.out, vars->len + vars->len / 64 + OUT_ROOM);
    int e = fcgi_records_add_head(&x.out, vars);
    if (e == 0) {
        e = add_body(&x);
    }
    if (e == 0) {
        e = run(&x);
    }
    buf_fini(&x.in);
    buf_fini(&x.out);
    *ret_end =
        (struct fcgi_client_end){.protocol_status = x.reader.protocol_status,
                                 .body_failed = x.body_failed};
    return e;
}

int
fcgi_client_values(struct connection *p)
{
    struct exchange x = {.peer = p, .body_ended = true};
    struct buf names;
    int e;

    buf_init(&names, 256);
    buf_init(&x.in, READ_STEP);
    buf_init(&x.out, 512);
    e = request_params_add(&names, FCGI_MAX_CONNS, "", 0);
    e = e == 0 ? request_params_add(&names, FCGI_MPXS_CONNS, "", 0) : e;
    e = e == 0 ? fcgi_records_add(&x.out, FCGI_GET_VALUES, 0, names.data,
                                  names.len)
               : e;
    e = e == 0 ? run(&x) : e;
    buf_fini(&names);
    buf_fini(&x.in);
    buf_fini(&x.out);
    return e;
}
