#include "transport/fcgi_worker.h"

#include "base/clock.h"
#include "transport/fcgi_os.h"

#include <errno.h>
#include <fastcgi.h>
#include <fcgiapp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum {
    RECEIVE_ROOM = 64 << 10,
    AHEAD_MAX = 1 << 20,    /* of the requests behind this one */
    FOREIGN_MAX = 64 << 20, /* of other ids' records inside one body */
    GIVE_WAY_AFTER = 256 << 10
};

/* Makes room where what was received has been used. */
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

    reuse_input(w);
    int e = buf_reserve(in, RECEIVE_ROOM);
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

/* A peer that does not take a few bytes of an answer is not waited for. */
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
            w->broken = true; /* half an answer may be out */
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

    b->left = b->pad = 0;
    b->taken = 0;
    b->foreign = b->unshared = 0;
    b->type = 0;
    /* An Authorizer gets no body, whatever the web server ends it with (6.3). */
    b->stdin_eof = w->c->parser.role == FCGI_AUTHORIZER;
    b->data_eof = w->c->parser.role != FCGI_FILTER;
    b->peer_eof = b->aborted = false;
    b->error = b->lost = b->data_lost = 0;
    w->replaying = true;
    w->head_used = false;
    w->part = PART_BEGIN;
}

void
fcgi_body_end(struct fcgi_worker *w)
{
    if (w->has_stream) {
        FCGX_Free(w->fx, 0);
        w->fx->ipcFd = -1;
        w->has_stream = false;
        fcgi_os_attach(NULL, NULL);
    }
    w->head_used = false; /* what comes next may be a head */
    spool_fini(&w->body.spool);
    spool_fini(&w->body.data_spool);
}

bool
fcgi_body_complete(const struct fcgi_worker *w)
{
    return w->body.stdin_eof && w->body.data_eof && w->body.left == 0 &&
           w->body.pad == 0;
}

/* -- records behind the head --------------------------------------------------------- */

static int
set_error(struct fcgi_worker *w, int err)
{
    if (w->body.error == 0) {
        w->body.error = err;
    }
    return w->body.error;
}

/* A complete header of our own request is at h. 0 or -errno. */
static int
own_record(struct fcgi_worker *w, const uint8_t *h)
{
    struct fcgi_body *b = &w->body;
    size_t n = fcgi_u16(h + 4);

    switch (h[1]) {
    case FCGI_STDIN:
        if (b->stdin_eof && w->c->parser.role != FCGI_AUTHORIZER) {
            return -EPROTO;
        }
        b->stdin_eof = b->stdin_eof || n == 0;
        break;
    case FCGI_DATA:
        if (!b->stdin_eof || b->data_eof) {
            return -EPROTO;
        }
        b->data_eof = n == 0;
        break;
    case FCGI_ABORT_REQUEST:
        b->aborted = true;
        return -ECONNABORTED;
    default:
        return -EPROTO;
    }
    b->type = h[1];
    b->left = n;
    b->pad = h[6];
    w->c->parser.pos += FCGI_HEADER;
    return 0;
}

/* A record of another id, or of none: its content must be whole to be answered.
 * 1 = done, 0 = more bytes are needed, or -errno. */
static int
other_record(struct fcgi_worker *w, const uint8_t *h, size_t have)
{
    size_t whole = FCGI_HEADER + fcgi_u16(h + 4) + (size_t)h[6];

    if (have < whole) {
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

/* Takes one step through what has arrived. 1 = go on, 0 = more bytes are needed,
 * or -errno. */
static int
next_record(struct fcgi_worker *w)
{
    struct fcgi_parser *g = &w->c->parser;
    size_t have = w->in.len - g->pos;
    const uint8_t *h = (const uint8_t *)w->in.data + g->pos;

    if (w->body.pad > 0) {
        size_t n = w->body.pad < have ? w->body.pad : have;
        g->pos += n;
        w->body.pad -= n;
        return w->body.pad == 0;
    }
    if (have == 0) {
        return 0;
    }
    if (h[0] != FCGI_VERSION_1) {
        return -EPROTO;
    }
    if (have < FCGI_HEADER) {
        return 0;
    }
    if (fcgi_u16(h + 2) != g->id) {
        return other_record(w, h, have);
    }
    int e = own_record(w, h);
    return e < 0 ? e : 1;
}

static bool
is_at_end(const struct fcgi_body *b, uint8_t type)
{
    return type == FCGI_STDIN ? b->stdin_eof : b->data_eof;
}

/* Content of one stream that has arrived: *ret_p and how much; 0 with *ret_end
 * set at the stream's end, 0 without where more bytes are needed; or -errno. */
static ssize_t
next_content(struct fcgi_worker *w, uint8_t type, const char **ret_p,
             bool *ret_end)
{
    struct fcgi_body *b = &w->body;
    struct fcgi_parser *g = &w->c->parser;

    *ret_end = false;
    for (;;) {
        size_t have = w->in.len - g->pos;
        size_t n = b->left < have ? b->left : have;
        if (b->left > 0) {
            if (b->type != type && is_at_end(b, type)) {
                *ret_end = true; /* DATA has begun: that is for who wants it */
                return 0;
            }
            if (n == 0) {
                return 0;
            }
            if (b->type == type) {
                *ret_p = w->in.data + g->pos;
                return (ssize_t)n;
            }
            g->pos += n; /* another stream's, which nobody wants */
            b->left -= n;
            continue;
        }
        if (is_at_end(b, type) && b->pad == 0) {
            *ret_end = true;
            return 0;
        }
        int r = b->error != 0 ? b->error : next_record(w);
        if (r <= 0) {
            return r < 0 ? set_error(w, r) : 0;
        }
    }
}

static void
take(struct fcgi_worker *w, size_t n)
{
    w->c->parser.pos += n;
    w->body.left -= n;
}

/* A peer whose bytes are always there would otherwise keep the GIL. */
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

/* More bytes from the peer, waiting for them. 0 or -errno. */
static int
receive_more(struct fcgi_worker *w, int64_t deadline_ms)
{
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
        int r = transport_wait(&w->q, w->fd, POLLIN, deadline_ms);
        if (r < 0) {
            return set_error(w, r);
        }
    }
}

void
fcgi_body_look(struct fcgi_worker *w)
{
    const char *p;
    bool end;

    if (!w->body.stdin_eof) {
        if (next_content(w, FCGI_STDIN, &p, &end) < 0) {
            return; /* the error is kept and told to whoever reads */
        }
    }
}

/* What lies beyond CONTENT_LENGTH nobody will ever ask for. */
static int
keep_stdin(struct fcgi_worker *w, const char *p, size_t n)
{
    const struct request *q = &w->q;
    uint64_t limit = q->config->limit_body;
    uint64_t before = w->body.taken;

    w->body.taken += n;
    if (q->content_length >= 0) {
        uint64_t length = (uint64_t)q->content_length;
        uint64_t left = length > before ? length - before : 0;
        n = n < left ? n : (size_t)left;
    }
    else if (w->body.taken > (limit > 0 ? limit : SPOOL_MAX)) {
        return -EMSGSIZE;
    }
    return n == 0 ? 0 : spool_write(&w->body.spool, p, n);
}

/* Content that arrived goes into the spool of its stream. Where there is no room
 * for it, whoever reads is told; the response goes on, and what else comes is
 * dropped. */
static void
set_aside(struct fcgi_worker *w, const char *p, size_t n)
{
    struct fcgi_body *b = &w->body;

    if (b->type == FCGI_DATA && b->data_lost == 0) {
        b->data_lost = spool_write(&b->data_spool, p, n);
    }
    if (b->type == FCGI_STDIN && b->lost == 0) {
        b->lost = keep_stdin(w, p, n);
    }
    take(w, n);
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
    bool filter = w->c->parser.role == FCGI_FILTER;
    const char *p;
    bool end = false;

    ssize_t n = fcgi_receive(w);
    if (n == 0) {
        w->body.peer_eof = true;
        return 0;
    }
    if (n < 0) {
        return n == -EAGAIN ? 0 : (int)n;
    }
    while ((n = next_content(w, FCGI_STDIN, &p, &end)) > 0 ||
           (end && filter && (n = next_content(w, FCGI_DATA, &p, &end)) > 0)) {
        set_aside(w, p, (size_t)n);
    }
    return 0; /* an error is told to whoever reads */
}

/* -- libfcgi's input ------------------------------------------------------------------ */

/* The head as libfcgi is to see it: BEGIN and the end of PARAMS, which are taken
 * from the parser. 0 when it has had all of it. */
static size_t
replay_head(struct fcgi_worker *w, char *to)
{
    const struct fcgi_parser *g = &w->c->parser;
    uint8_t *p = (uint8_t *)to;

    if (w->part == PART_BEGIN) {
        memset(p, 0, (size_t)2 * FCGI_HEADER);
        fcgi_header(p, FCGI_BEGIN_REQUEST, g->id, 8);
        p[FCGI_HEADER + 1] = g->role;
        p[FCGI_HEADER + 2] =
            FCGI_KEEP_CONN; /* the socket is not its to close */
        w->part = PART_PARAMS;
        return (size_t)2 * FCGI_HEADER;
    }
    if (w->part == PART_PARAMS) {
        fcgi_header(p, FCGI_PARAMS, g->id, 0);
        w->part = PART_STDIN;
        return FCGI_HEADER;
    }
    w->replaying = false;
    return 0;
}

/* One record a call; libfcgi reads 8 KiB at a time. STDIN that was spooled comes
 * first. At an error it is told the connection has ended. */
ssize_t
fcgi_feed(void *arg, char *to, size_t size)
{
    struct fcgi_worker *w = arg;
    uint8_t type = w->part == PART_DATA ? FCGI_DATA : FCGI_STDIN;
    int lost = type == FCGI_DATA ? w->body.data_lost : w->body.lost;
    const char *p = NULL;
    int64_t deadline = 0; /* for bytes of the body; others do not prolong it */
    ssize_t n;
    bool end;

    if (w->replaying && (n = (ssize_t)replay_head(w, to)) > 0) {
        return n;
    }
    n = spool_read(type == FCGI_DATA ? &w->body.data_spool : &w->body.spool,
                   to + FCGI_HEADER, size - FCGI_HEADER);
    if (n == 0 && lost != 0) {
        n = lost;
    }
    else if (n == 0) {
        while ((n = next_content(w, type, &p, &end)) == 0 && !end) {
            if (deadline == 0) {
                deadline = clock_ms() + w->config->body_timeout_ms;
            }
            int e = receive_more(w, deadline);
            if (e < 0) {
                n = e;
                break;
            }
        }
    }
    if (n < 0) {
        set_error(w, (int)n);
        errno = (int)-n;
        return -1;
    }
    if (n > 0 && p != NULL) {
        n = n > (ssize_t)(size - FCGI_HEADER) ? (ssize_t)(size - FCGI_HEADER)
                                              : n;
        memcpy(to + FCGI_HEADER, p, (size_t)n);
        w->body.taken += type == FCGI_STDIN ? (size_t)n : 0;
        take(w, (size_t)n);
    }
    fcgi_header((uint8_t *)to, type, w->c->parser.id, (size_t)n);
    return FCGI_HEADER + n;
}

/* -- the transport's half ---------------------------------------------------------------- */

/* libfcgi's stream of the body, from the first read on: most requests have none.
 * The descriptor it is told is never used: all its input comes from fcgi_feed(),
 * and our layer closes nothing. */
static int
open_stream(struct fcgi_worker *w)
{
    /* Another thread of the application may be reading. */
    fcgi_os_attach(fcgi_feed, w);
    if (w->has_stream) {
        return 0;
    }
    w->fx->ipcFd = w->fd;
    w->fx->keepConnection = 1; /* 0 would "close" the connection first */
    int e = fcgi_os_accept(w->fx);
    if (e < 0) {
        return set_error(w, e);
    }
    w->has_stream = true;
    return FCGX_GetError(w->fx->in) == 0 ? 0 : set_error(w, -EPROTO);
}

/* Filter: STDIN to its end, then libfcgi is told to go on to DATA (6.4). */
static int
start_data(struct fcgi_worker *w)
{
    char waste[4096];

    if (w->part == PART_DATA) {
        return 0;
    }
    while (FCGX_GetStr(waste, sizeof waste, w->fx->in) == (int)sizeof waste) {
    }
    if (FCGX_GetError(w->fx->in) != 0) {
        return set_error(w, -EPROTO);
    }
    w->part = PART_DATA;
    return FCGX_StartFilterData(w->fx->in) == 0 ? 0 : set_error(w, -EPROTO);
}

ssize_t
fcgi_read(struct request *q, enum request_stream s, void *to, size_t size)
{
    struct fcgi_worker *w = fcgi_of(q);

    if (s == STREAM_STDIN &&
        (w->q.role == ROLE_AUTHORIZER || w->part == PART_DATA)) {
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
    /* FCGX_GetStr() waits for all it is asked for: ask for one byte where none
     * is buffered, then for what came with it. */
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

int64_t
fcgi_take_body(struct request *q)
{
    struct fcgi_worker *w = fcgi_of(q);
    int64_t deadline = 0; /* for bytes of the body, as in fcgi_feed() */
    const char *p;
    bool end;

    for (;;) {
        ssize_t n = next_content(w, FCGI_STDIN, &p, &end);
        int e = 0;
        if (n < 0 || (n == 0 && end)) {
            return n < 0 ? n : (int64_t)w->body.taken;
        }
        if (n > 0) {
            deadline = 0;
            set_aside(w, p, (size_t)n);
            e = w->body.lost;
        }
        else {
            if (deadline == 0) {
                deadline = clock_ms() + w->config->body_timeout_ms;
            }
            e = receive_more(w, deadline);
        }
        if (e < 0) {
            return e;
        }
    }
}

/* An ABORT_REQUEST that has arrived behind the body. Other records there belong
 * to the next request. */
static bool
abort_arrived(struct fcgi_worker *w)
{
    const struct fcgi_parser *g = &w->c->parser;
    const uint8_t *h = (const uint8_t *)w->in.data + g->pos;

    if (!fcgi_body_complete(w) || w->in.len - g->pos < FCGI_HEADER) {
        return false;
    }
    return h[0] == FCGI_VERSION_1 && h[1] == FCGI_ABORT_REQUEST &&
           fcgi_u16(h + 2) == g->id;
}

bool
fcgi_peer_gone(struct request *q)
{
    struct fcgi_worker *w = fcgi_of(q);
    struct pollfd p = {.fd = w->fd, .events = POLLIN};

    /* It may have come while we waited for room to write. */
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
    if (!w->body.peer_eof && w->in.len - w->c->parser.pos < RECEIVE_ROOM) {
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
