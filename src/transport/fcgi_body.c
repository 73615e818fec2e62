/*
 * fcgi_body.c - the body of a FastCGI request
 *
 * Two decoders share the work. We find the borders of the records, because what
 * lies between them decides what may pass: libfcgi gets this request's STDIN
 * and DATA records as the peer sent them, and turns them into the streams that
 * the application reads. It never sees the padding of a stream's end, records
 * of other ids, management records, ABORT_REQUEST and faults, where it loses
 * data or its place.
 */
#include "transport/fcgi_worker.h"

#include "base/clock.h"
#include "transport/fcgi_os.h"
#include "transport/wait.h"

#include <assert.h>
#include <errno.h>
#include <fastcgi.h>
#include <fcgiapp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum {
    AHEAD_MAX = 1 << 20,    /* of the next requests */
    FOREIGN_MAX = 64 << 20, /* of other ids' records inside one body */
    GIVE_WAY_AFTER = 256 << 10
};

/* Frees the room of input that has been used. */
static void
reuse_input(struct fcgi_worker *w)
{
    struct fcgi_parser *g = &w->c->parser;

    if (g->id != 0 && !w->head_used) {
        return; /* the head is still in it */
    }
    if (g->pos == w->in.len) {
        g->pos = w->in.len = 0;
    }
    else if (g->pos > w->in.cap / 2) {
        buf_consume(&w->in, g->pos);
        g->pos = 0;
    }
}

ssize_t
fcgi_receive(struct fcgi_worker *w)
{
    struct buf *in = &w->in;

    assert(w->c->parser.pos + w->body.ready <= in->len);
    reuse_input(w);
    int e = buf_reserve(in, FCGI_RECEIVE_ROOM);
    if (e < 0) {
        return e;
    }
    for (;;) {
        ssize_t n =
            recv(w->fd, in->data + in->len, in->cap - in->len, MSG_DONTWAIT);
        if (n >= 0) {
            in->len += (size_t)n;
            return n;
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}

/* Does not wait for a peer that takes no reply. */
int
fcgi_send_reply(struct fcgi_worker *w)
{
    size_t done = 0;

    if (w->sending) {
        return 0;
    }
    while (done < w->reply.len) {
        ssize_t n = send(w->fd, w->reply.data + done, w->reply.len - done,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            int e = errno == EAGAIN ? -EPIPE : -errno;
            w->reply.len = 0;
            w->broken = true; /* half a reply may be out */
            return e;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    w->reply.len = 0;
    return 0;
}

void
fcgi_body_begin(struct fcgi_worker *w)
{
    struct fcgi_body *b = &w->body;

    assert(!w->has_stream && spool_size(&b->spool) == 0);
    b->ready = b->empty = b->left = b->pad = 0;
    b->drop = false;
    b->taken = 0;
    b->deadline_ms = 0;
    b->foreign = b->unshared = 0;
    b->type = 0;
    /* An Authorizer gets no body, whatever the web server ends it with
     * (6.3). */
    b->stdin_eof = w->c->parser.role == FCGI_AUTHORIZER;
    b->data_eof = w->c->parser.role != FCGI_FILTER;
    b->peer_eof = b->aborted = false;
    b->error = b->lost = 0;
    w->head_given = w->reads_data = false;
    w->head_used = false;
}

bool
fcgi_body_complete(const struct fcgi_worker *w)
{
    return w->body.stdin_eof && w->body.data_eof && w->body.left == 0 &&
           w->body.pad == 0;
}

bool
fcgi_body_is_empty(const struct fcgi_worker *w)
{
    return w->body.stdin_eof && w->body.taken == 0;
}

/* -- the borders of the records behind the head --------------------------- */

/*
 * libfcgi decodes the body from the connection's own bytes. scan() finds where
 * the records end: [parser.pos, parser.pos + ready) are bytes of this request's
 * STDIN and DATA records, headers and padding included, which libfcgi or the
 * spool gets as they are. Anything else ends that range and waits until it has
 * been handed over: only then parser.pos can move past it.
 */

static int
set_error(struct fcgi_worker *w, int err)
{
    if (w->body.error == 0) {
        w->body.error = err;
    }
    return w->body.error;
}

/* Bytes that have arrived and have not been scanned. */
static size_t
unscanned(const struct fcgi_worker *w)
{
    return w->in.len - w->c->parser.pos - w->body.ready;
}

/* The first of them. */
static const uint8_t *
scan_point(const struct fcgi_worker *w)
{
    return (const uint8_t *)w->in.data + w->c->parser.pos + w->body.ready;
}

/* Moves on by n bytes of the current record. */
static void
move_on(struct fcgi_worker *w, size_t n)
{
    if (w->body.drop) {
        assert(w->body.ready == 0);
        w->c->parser.pos += n;
    }
    else {
        w->body.ready += n;
    }
}

/* What has arrived of the current record's content and padding. */
static void
rest_of_record(struct fcgi_worker *w)
{
    struct fcgi_body *b = &w->body;
    size_t have = unscanned(w);
    size_t content = b->left < have ? b->left : have;
    size_t pad = b->pad < have - content ? b->pad : have - content;

    if (content > 0) {
        b->deadline_ms = 0;
        b->taken += b->type == FCGI_STDIN ? content : 0;
    }
    b->left -= content;
    b->pad -= pad;
    b->empty = content > 0 ? pad : b->empty + pad;
    move_on(w, content + pad);
}

/* True if nobody will ask for content that comes now. */
static bool
is_beyond_length(const struct fcgi_worker *w, uint8_t type)
{
    return type == FCGI_STDIN && w->q.content_length >= 0 &&
           w->body.taken >= (uint64_t)w->q.content_length;
}

/* The header of a STDIN or DATA record of our own request is at h. 1 = done, 0
 * = what comes before it has to be handed over first, or -EPROTO. */
static int
stream_record(struct fcgi_worker *w, const uint8_t *h)
{
    struct fcgi_body *b = &w->body;
    bool *eof = h[1] == FCGI_STDIN ? &b->stdin_eof : &b->data_eof;
    size_t n = fcgi_u16(h + 4);
    bool beyond = n > 0 && is_beyond_length(w, h[1]);
    bool out_of_order = *eof || (h[1] == FCGI_DATA && !b->stdin_eof);

    if ((out_of_order || beyond) && b->ready > 0) {
        return 0;
    }
    if (out_of_order) {
        return -EPROTO;
    }
    b->type = h[1];
    b->left = n;
    b->pad = h[6];
    b->drop = beyond;
    b->empty += FCGI_HEADER;
    move_on(w, FCGI_HEADER);
    if (n == 0) {
        *eof = true;
        b->deadline_ms = 0;
        /* libfcgi forgets this padding when it goes on to DATA. */
        b->drop = b->pad > 0;
    }
    return 1;
}

/* A record of another id, or of none: its content must be whole to be answered.
 * 1 = done, 0 = more bytes are needed, or -errno. */
static int
other_record(struct fcgi_worker *w, const uint8_t *h)
{
    size_t whole = FCGI_HEADER + fcgi_u16(h + 4) + (size_t)h[6];

    assert(w->body.ready == 0);
    if (unscanned(w) < whole) {
        return 0;
    }
    w->body.foreign += whole;
    if (w->body.foreign > FOREIGN_MAX) {
        return -EPROTO;
    }
    if (fcgi_parser_answer(&w->c->parser, h, &w->reply, &w->limits) ==
        FCGI_PARSER_CLOSE) {
        return -EPROTO;
    }
    w->c->parser.pos += whole;
    int e = fcgi_send_reply(w);
    return e < 0 ? e : 1;
}

/* The record at the scan point. 1 = go on behind it, 0 = more bytes are needed
 * or what comes before it has to be handed over, or -errno. */
static int
next_record(struct fcgi_worker *w)
{
    const uint8_t *h = scan_point(w);
    bool is_own = unscanned(w) >= FCGI_HEADER && h[0] == FCGI_VERSION_1 &&
                  fcgi_u16(h + 2) == w->c->parser.id;

    if (is_own && (h[1] == FCGI_STDIN || h[1] == FCGI_DATA)) {
        return stream_record(w, h);
    }
    if (w->body.ready > 0) {
        return 0;
    }
    if (h[0] != FCGI_VERSION_1) {
        return -EPROTO;
    }
    if (unscanned(w) < FCGI_HEADER) {
        return 0;
    }
    if (!is_own) {
        return other_record(w, h);
    }
    w->body.aborted = h[1] == FCGI_ABORT_REQUEST;
    return w->body.aborted ? -ECONNABORTED : -EPROTO;
}

/* Scans what has arrived. Where ready is 0 afterwards, more bytes are needed,
 * or the body is complete. 0 or -errno. */
static int
scan(struct fcgi_worker *w)
{
    struct fcgi_body *b = &w->body;

    while (unscanned(w) > 0) {
        if (b->left > 0 || b->pad > 0) {
            if (b->drop && b->ready > 0) {
                return 0;
            }
            rest_of_record(w);
            continue;
        }
        if (b->stdin_eof && b->data_eof) {
            return 0;
        }
        int r = b->error != 0 ? b->error : next_record(w);
        if (r <= 0) {
            return r < 0 ? set_error(w, r) : 0;
        }
    }
    return b->error;
}

void
fcgi_body_end(struct fcgi_worker *w)
{
    struct fcgi_body *b = &w->body;

    if (w->has_stream) {
        FCGX_Free(w->fx, 0);
        w->fx->ipcFd = -1;
        w->has_stream = false;
        fcgi_os_attach(NULL, NULL);
    }
    /* What nobody has asked for. */
    w->c->parser.pos += b->ready;
    b->ready = 0;
    if (b->drop) {
        rest_of_record(w);
    }
    w->head_used = false; /* what comes next may be a head */
    spool_fini(&b->spool);
}

/* Releases the GIL now and then: a peer that sends fast never makes us wait. */
static void
give_way(struct fcgi_worker *w, size_t n)
{
    const struct wait_hooks *h = &w->q.hooks;

    w->body.unshared += n;
    if (w->body.unshared >= GIVE_WAY_AFTER) {
        w->body.unshared = 0;
        if (h->enter != NULL) {
            h->enter(h->arg);
        }
        if (h->leave != NULL) {
            h->leave(h->arg);
        }
    }
}

/* More bytes from the peer, waiting for them. 0 or -errno. The deadline is that
 * of the next content: other bytes do not prolong it. */
static int
receive_more(struct fcgi_worker *w)
{
    int64_t *deadline = &w->body.deadline_ms;

    for (;;) {
        ssize_t n = w->body.peer_eof ? 0 : fcgi_receive(w);
        if (n > 0) {
            give_way(w, (size_t)n);
            return 0;
        }
        if (n == 0) {
            w->body.peer_eof = true;
            return set_error(w, -EPIPE);
        }
        if (n != -EAGAIN) {
            return set_error(w, (int)n);
        }
        w->body.unshared = 0;
        if (*deadline == 0) {
            *deadline = clock_ms() + w->config->body_timeout_ms;
        }
        int r = transport_wait(&w->q, w->fd, POLLIN, *deadline);
        if (r < 0) {
            return set_error(w, r);
        }
    }
}

/* 1 = ready > 0, waiting for it; 0 = the body is complete; or -errno. */
static int
wait_ready(struct fcgi_worker *w)
{
    for (;;) {
        int e = scan(w);
        if (w->body.ready > 0) {
            return 1;
        }
        if (e < 0 || fcgi_body_complete(w)) {
            return e;
        }
        e = receive_more(w);
        if (e < 0) {
            return e;
        }
    }
}

/* -- the spool ------------------------------------------------------------ */

/* Spools the ready bytes. If there is no room for them the next read fails; the
 * response goes on, and what follows is dropped. */
static void
set_aside(struct fcgi_worker *w)
{
    const struct request *q = &w->q;
    struct fcgi_body *b = &w->body;
    size_t *pos = &w->c->parser.pos;
    uint64_t limit =
        q->config->limit_body > 0 ? q->config->limit_body : SPOOL_MAX;

    if (b->lost == 0 && q->content_length < 0 && b->taken > limit) {
        b->lost = -EMSGSIZE;
    }
    if (b->lost == 0) {
        b->lost = spool_write(&b->spool, w->in.data + *pos, b->ready);
    }
    *pos += b->ready;
    b->ready = 0;
}

/* Padding and the end of a stream must not keep the scan from what follows them,
 * which may be an ABORT_REQUEST: once all content has been read, nobody asks for
 * them any more. */
void
fcgi_body_look(struct fcgi_worker *w)
{
    const struct fcgi_body *b = &w->body;

    while (!fcgi_body_complete(w)) {
        if (scan(w) < 0 || b->ready == 0 || b->ready > b->empty) {
            return; /* an error is kept for the next read */
        }
        set_aside(w);
    }
}

bool
fcgi_body_wants_more(const struct fcgi_worker *w)
{
    if (w->body.peer_eof || w->body.error != 0) {
        return false;
    }
    return !fcgi_body_complete(w) || w->in.len - w->c->parser.pos < AHEAD_MAX;
}

int
fcgi_body_absorb(struct fcgi_worker *w)
{
    ssize_t n = fcgi_receive(w);

    if (n == 0) {
        w->body.peer_eof = true;
        return 0;
    }
    if (n < 0) {
        return n == -EAGAIN ? 0 : (int)n;
    }
    for (;;) {
        (void)scan(w); /* an error is kept for the next read */
        if (w->body.ready == 0) {
            return 0;
        }
        set_aside(w);
    }
}

int64_t
fcgi_take_body(struct request *q)
{
    struct fcgi_worker *w = fcgi_of(q);

    for (;;) {
        int r = wait_ready(w);
        if (r <= 0) {
            return r < 0 ? r : (int64_t)w->body.taken;
        }
        set_aside(w);
        if (w->body.lost < 0) {
            return w->body.lost;
        }
    }
}

/* -- libfcgi's input ------------------------------------------------------ */

/* The head is made here. libfcgi loses its place behind a BEGIN that has
 * padding, may close a connection without KEEP_CONN, and has no need of the
 * parameters, which the parser has decoded. */
static size_t
give_head(struct fcgi_worker *w, char *to)
{
    enum { HEAD = 3 * FCGI_HEADER }; /* BEGIN with its content, empty PARAMS */
    const struct fcgi_parser *g = &w->c->parser;
    uint8_t *p = (uint8_t *)to;

    memset(p, 0, HEAD);
    fcgi_header(p, FCGI_BEGIN_REQUEST, g->id, 8);
    p[FCGI_HEADER + 1] = g->role;
    p[FCGI_HEADER + 2] = FCGI_KEEP_CONN;
    fcgi_header(p + (size_t)2 * FCGI_HEADER, FCGI_PARAMS, g->id, 0);
    w->head_given = true;
    return HEAD;
}

/* Records as they came: what was spooled comes first. libfcgi asks for 8 KiB at
 * a time, and for nothing behind the end of its stream. */
static ssize_t
feed(void *arg, char *to, size_t size)
{
    struct fcgi_worker *w = arg;
    struct fcgi_body *b = &w->body;
    ssize_t n;

    if (!w->head_given) {
        return (ssize_t)give_head(w, to);
    }
    n = spool_read(&b->spool, to, size);
    if (n == 0) {
        n = b->lost < 0 ? b->lost : wait_ready(w);
        if (n > 0) {
            n = (ssize_t)(b->ready < size ? b->ready : size);
            memcpy(to, w->in.data + w->c->parser.pos, (size_t)n);
            w->c->parser.pos += (size_t)n;
            b->ready -= (size_t)n;
        }
    }
    if (n < 0) {
        set_error(w, (int)n);
        errno = (int)-n;
        return -1;
    }
    return n;
}

/* -- the transport's functions -------------------------------------------- */

/* libfcgi's stream of the body, from the first read on: most requests have
 * none. It gets the descriptor but never uses it: all its input comes from
 * feed(), and our OS_IpcClose() closes nothing. */
static int
open_stream(struct fcgi_worker *w)
{
    /* Another thread of the application may be reading. */
    fcgi_os_attach(feed, w);
    if (w->has_stream) {
        return 0;
    }
    assert(!w->head_given);
    w->fx->ipcFd = w->fd;
    w->fx->keepConnection = 1; /* 0 would "close" the connection first */
    int e = fcgi_os_accept(w->fx);
    if (e < 0) {
        return set_error(w, e);
    }
    w->has_stream = true;
    return FCGX_GetError(w->fx->in) == 0 ? 0 : set_error(w, -EPROTO);
}

/* Filter: reads STDIN to its end, then makes libfcgi go on to DATA (6.4). */
static int
start_data(struct fcgi_worker *w)
{
    char waste[4096];

    assert(w->has_stream);
    if (w->reads_data) {
        return 0;
    }
    while (FCGX_GetStr(waste, sizeof waste, w->fx->in) == (int)sizeof waste) {
    }
    if (FCGX_GetError(w->fx->in) != 0) {
        return set_error(w, -EPROTO);
    }
    w->reads_data = true;
    return FCGX_StartFilterData(w->fx->in) == 0 ? 0 : set_error(w, -EPROTO);
}

ssize_t
fcgi_read(struct request *q, enum request_stream s, void *to, size_t size)
{
    struct fcgi_worker *w = fcgi_of(q);

    if (s == STREAM_STDIN && (w->q.role == ROLE_AUTHORIZER || w->reads_data)) {
        return 0;
    }
    int e = open_stream(w);
    if (e == 0 && s == STREAM_DATA) {
        e = start_data(w);
    }
    if (e < 0) {
        return e;
    }
    FCGX_Stream *in = w->fx->in;
    /* FCGX_GetStr() waits for everything it is asked for: ask for one byte if
     * none is buffered, then for what came with it. */
    size_t have = (size_t)(in->stop - in->rdNext);
    size_t got = 0;
    if (have == 0) {
        int c = FCGX_GetChar(in);
        if (c == EOF) {
            return FCGX_GetError(in) == 0 ? 0 : set_error(w, -EPROTO);
        }
        *(unsigned char *)to = (unsigned char)c;
        got = 1;
        have = (size_t)(in->stop - in->rdNext);
    }
    size_t n = size - got < have ? size - got : have;
    if (n > 0) {
        got += (size_t)FCGX_GetStr((char *)to + got, (int)n, in);
    }
    return (ssize_t)got;
}

/* An ABORT_REQUEST that has arrived behind the body. Other records there belong
 * to the next request. */
static bool
abort_arrived(struct fcgi_worker *w)
{
    const uint8_t *h = scan_point(w);

    return fcgi_body_complete(w) && unscanned(w) >= FCGI_HEADER &&
           h[0] == FCGI_VERSION_1 && h[1] == FCGI_ABORT_REQUEST &&
           fcgi_u16(h + 2) == w->c->parser.id;
}

bool
fcgi_peer_gone(struct request *q)
{
    struct fcgi_worker *w = fcgi_of(q);
    struct pollfd p = {.fd = w->fd, .events = POLLIN};

    /* It may have arrived while we waited for room to write. */
    w->body.aborted = w->body.aborted || abort_arrived(w);
    if (w->broken || w->body.aborted) {
        return true;
    }
    if (poll(&p, 1, 0) <= 0) {
        return false;
    }
    if ((p.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) {
        return true;
    }
    /* Bytes beyond one buffer may wait in the kernel: they are the next
     * requests', or the body's, which the application has not asked for. */
    if (!w->body.peer_eof && w->in.len - w->c->parser.pos < FCGI_RECEIVE_ROOM) {
        ssize_t n = fcgi_receive(w);
        w->body.peer_eof = n == 0;
        fcgi_body_look(w);
        if (n < 0 && n != -EAGAIN) {
            return true;
        }
    }
    w->body.aborted = w->body.aborted || abort_arrived(w);
    return w->body.aborted;
}

bool
fcgi_was_aborted(struct request *q)
{
    (void)fcgi_peer_gone(q); /* reads what has arrived */
    return fcgi_of(q)->body.aborted;
}
