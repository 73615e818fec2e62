#include "transport/fcgi_worker.h"

#include "base/clock.h"
#include "text/utf8.h"
#include "transport/late_lines.h"
#include "transport/wait.h"

#include <assert.h>
#include <errno.h>
#include <fastcgi.h>
#include <poll.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    BATCH = 1024,             /* blocks in one sendmsg(): IOV_MAX */
    BLOCKING_FROM = 64 << 10, /* bytes from which one blocking call is better
                               * than many that do not block */
    ERRORS_PIECE = 4096 /* of one FCGI_STDERR record: servers' line buffers */
};

/* A blocking send must end when the peer stops reading. */
static void
set_send_timeout(struct fcgi_worker *w)
{
    int64_t ms = w->config->write_timeout_ms;
    const struct timeval tv = {.tv_sec = ms / 1000,
                               .tv_usec = ms % 1000 * 1000};

    if (!w->c->conn.has_send_timeout) {
        (void)setsockopt(w->fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
        w->c->conn.has_send_timeout = true;
    }
}

/* The socket is full. While we wait, a peer that sends all of STDIN before it
 * reads anything must be listened to, or both wait for ever. */
static int
wait_writable(struct fcgi_worker *w, int64_t deadline_ms)
{
    for (;;) {
        bool listen = fcgi_body_wants_more(w);
        int r = transport_wait(
            &w->q, w->fd, listen ? POLLOUT | POLLIN : POLLOUT, deadline_ms);
        if (r < 0) {
            return r;
        }
        if ((r & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
            return -EPIPE;
        }
        if (listen && (r & POLLIN) != 0) {
            int e = fcgi_body_absorb(w);
            if (e < 0) {
                return e;
            }
        }
        if ((r & POLLOUT) != 0) {
            return 0;
        }
    }
}

/* Drops n sent bytes from the front; what is left starts at *v. */
static void
advance(struct iovec **v, size_t *nv, size_t n)
{
    while (*nv > 0 && n >= (*v)->iov_len) {
        n -= (*v)->iov_len;
        (*v)++;
        (*nv)--;
    }
    assert(*nv > 0 || n == 0); /* never more than there was */
    if (*nv > 0) {
        (*v)->iov_base = (char *)(*v)->iov_base + n;
        (*v)->iov_len -= n;
    }
}

static int
send_loop(struct fcgi_worker *w, struct iovec *v, size_t nv, bool blocking,
          int flags)
{
    int64_t deadline = 0;

    while (nv > 0) {
        struct msghdr m = {.msg_iov = v, .msg_iovlen = nv};
        bool cancelled = request_is_cancelled(&w->q);
        bool wait = blocking && !cancelled;
        ssize_t n = sendmsg(w->fd, &m,
                            MSG_NOSIGNAL | flags | (wait ? 0 : MSG_DONTWAIT));
        if (n >= 0) {
            advance(&v, &nv, (size_t)n);
            deadline = 0;
            continue;
        }
        if (errno == EINTR) {
            continue;
        }
        if (errno != EAGAIN) {
            return -errno;
        }
        if (blocking) {
            return cancelled ? -ECANCELED : -ETIMEDOUT;
        }
        if (deadline == 0) {
            deadline = clock_ms() + w->config->write_timeout_ms;
        }
        int e = wait_writable(w, deadline);
        if (e < 0) {
            return e;
        }
    }
    return 0;
}

/* Half a record may be out. On TCP a reset shows that the response is not
 * complete; a unix socket just ends. */
static void
set_broken(struct fcgi_worker *w)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(w->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    w->broken = true;
}

/* All of the blocks. Small ones are sent without waiting and with the GIL held:
 * that is faster than releasing it. */
static int
send_blocks(struct fcgi_worker *w, struct iovec *v, size_t nv, int flags)
{
    size_t total = 0;
    int e;

    if (w->broken) {
        return -EPIPE;
    }
    for (size_t i = 0; i < nv; i++) {
        total += v[i].iov_len;
    }
    fcgi_body_look(w);
    w->sending = true;
    if (total < BLOCKING_FROM || !fcgi_body_complete(w)) {
        e = send_loop(w, v, nv, false, flags);
    }
    else {
        set_send_timeout(w);
        request_wait_begin(&w->q, WAIT_SENDING);
        e = send_loop(w, v, nv, true, flags);
        request_wait_end(&w->q);
    }
    w->sending = false;
    if (e < 0) {
        set_broken(w);
    }
    else if (w->reply.len > 0) {
        e = fcgi_send_reply(w);
    }
    return e;
}

/* -- STDERR --------------------------------------------------------------- */

/* How much of the lines goes into one record: whole lines where they fit, else
 * no cut inside a UTF-8 sequence. */
static size_t
errors_piece(const char *lines, size_t n)
{
    if (n <= ERRORS_PIECE) {
        return n;
    }
    const char *nl = memrchr(lines, '\n', ERRORS_PIECE);
    if (nl != NULL) {
        return (size_t)(nl - lines) + 1;
    }
    return utf8_whole(lines, ERRORS_PIECE);
}

/* Returns how much was sent; not all: the peer is gone. */
static size_t
send_errors(struct fcgi_worker *w, const char *lines, size_t n)
{
    size_t told = 0;

    while (told < n && !w->broken) {
        size_t k = errors_piece(lines + told, n - told);
        uint8_t h[FCGI_HEADER];
        struct iovec v[2] = {{h, FCGI_HEADER},
                             {(void *)(uintptr_t)(lines + told), k}};
        fcgi_header(h, FCGI_STDERR, w->c->parser.id, k);
        if (send_blocks(w, v, 2, 0) < 0) {
            break;
        }
        w->used_stderr = true;
        told += k;
    }
    return told;
}

/* What another thread has said about this request. */
static void
send_late(struct fcgi_worker *w)
{
    struct buf lines;

    if (late_lines_take(w->q.late, &lines)) {
        if (request_tells_server(&w->q)) {
            (void)send_errors(w, lines.data, lines.len);
        }
        buf_fini(&lines);
    }
}

size_t
fcgi_errors(struct request *q, const char *lines, size_t n)
{
    struct fcgi_worker *w = fcgi_of(q);
    enum response_state state = q->response.state;

    if (state == RESPONSE_DONE || state == RESPONSE_ABORTED) {
        return 0;
    }
    if (q->late != NULL) {
        send_late(w);
    }
    return send_errors(w, lines, n);
}

/* -- STDOUT --------------------------------------------------------------- */

/* Blocks being cut into records, and the records into batches. */
struct batch {
    struct iovec v[BATCH];
    size_t n;
    uint8_t headers[BATCH / 2][FCGI_HEADER];
    size_t nheaders;
};

/* Fills one record from the blocks (which it consumes). */
static void
add_record(struct batch *b, unsigned id, struct iovec **blocks, size_t *n)
{
    assert(b->n < BATCH - 1 && b->nheaders < BATCH / 2);
    uint8_t *h = b->headers[b->nheaders++];
    size_t length = 0;

    b->v[b->n++] = (struct iovec){h, FCGI_HEADER};
    while (*n > 0 && length < FCGI_PIECE && b->n < BATCH - 1) {
        struct iovec *from = *blocks;
        size_t k = from->iov_len < FCGI_PIECE - length ? from->iov_len
                                                       : FCGI_PIECE - length;
        b->v[b->n++] = (struct iovec){from->iov_base, k};
        length += k;
        advance(blocks, n, k);
    }
    fcgi_header(h, FCGI_STDOUT, id, length);
}

static size_t
add_end(struct fcgi_worker *w, uint8_t *to)
{
    unsigned id = w->c->parser.id;
    size_t n = 0;

    fcgi_header(to, FCGI_STDOUT, id, 0);
    n += FCGI_HEADER;
    if (w->used_stderr) {
        fcgi_header(to + n, FCGI_STDERR, id, 0);
        n += FCGI_HEADER;
    }
    fcgi_header(to + n, FCGI_END_REQUEST, id, 8);
    memset(to + n + FCGI_HEADER, 0, 8);
    to[n + FCGI_HEADER + 3] = (uint8_t)w->q.exit_status;
    to[n + FCGI_HEADER + 4] = FCGI_REQUEST_COMPLETE;
    return n + (size_t)2 * FCGI_HEADER;
}

int
fcgi_send(struct request *q, struct iovec *blocks, size_t n, int flags)
{
    struct fcgi_worker *w = fcgi_of(q);
    uint8_t end[4 * FCGI_HEADER];
    struct batch b;

    if ((flags & SEND_END) != 0 && q->late != NULL) {
        send_late(w);
    }
    w->begun = w->begun || n > 0;
    while (n > 0 && blocks->iov_len == 0) {
        blocks++;
        n--;
    }
    do {
        b.n = b.nheaders = 0;
        while (n > 0 && b.n < BATCH - 4 && b.nheaders < BATCH / 2) {
            add_record(&b, w->c->parser.id, &blocks, &n);
        }
        if (n == 0 && (flags & SEND_END) != 0) {
            b.v[b.n++] = (struct iovec){end, add_end(w, end)};
        }
        int e = send_blocks(w, b.v, b.n, 0);
        if (e < 0) {
            return e;
        }
    } while (n > 0);
    return 0;
}

static bool
is_nginx(const struct fcgi_worker *w)
{
    const struct param *e = params_get(&w->q.params, "SERVER_SOFTWARE");

    return e != NULL && e->value_len >= 6 && memcmp(e->value, "nginx/", 6) == 0;
}

/* False for nginx when it does not keep connections, or does not buffer: it
 * takes a close for the end of the response, and with a Content-Length it waits
 * for the rest, and so does its client. */
static bool
close_is_noticed(const struct fcgi_worker *w)
{
    return w->c->parser.keep &&
           !response_has_header(&w->q.response, "X-Accel-Buffering");
}

/* The file got shorter after the header of a record went out. For a server that
 * takes a close for the end the record is filled up, so that fcgi_break_off()
 * can follow; the others notice half a record. */
static int
file_ended(struct fcgi_worker *w, size_t n)
{
    static char zeros[FCGI_PIECE]; /* not const: no 64 KiB of the program */
    struct iovec v = {zeros, n};

    if (close_is_noticed(w) || !is_nginx(w) ||
        send_loop(w, &v, 1, true, 0) < 0) {
        set_broken(w);
    }
    return -EMSGSIZE;
}

/* As much of the next n bytes as the file has: how much, or -errno. */
static ssize_t
read_piece(int fd, char *to, size_t n, off_t offset)
{
    size_t got = 0;

    while (got < n) {
        ssize_t k = pread(fd, to + got, n - got, offset + (off_t)got);
        if (k < 0 && errno == EINTR) {
            continue;
        }
        if (k < 0) {
            return -errno;
        }
        if (k == 0) {
            break;
        }
        got += (size_t)k;
    }
    return (ssize_t)got;
}

/* Works for every file. */
static int
copy_piece(struct fcgi_worker *w, int fd, off_t *offset, size_t n)
{
    char piece[FCGI_PIECE];
    ssize_t got = read_piece(fd, piece, n, *offset);

    if (got != (ssize_t)n) {
        return got < 0 ? -EIO : file_ended(w, n);
    }
    *offset += got;
    struct iovec v = {piece, n};
    return send_loop(w, &v, 1, true, 0);
}

/* n bytes of the file, the content of a record whose header is out. */
static int
send_piece(struct fcgi_worker *w, int fd, off_t *offset, size_t n)
{
    while (n > 0) {
        if (request_is_cancelled(&w->q)) {
            return -ECANCELED; /* it can only wait */
        }
        ssize_t k = sendfile(w->fd, fd, offset, n);
        if (k < 0 && errno == EINTR) {
            continue;
        }
        if (k < 0 && errno == EINVAL) {
            return copy_piece(w, fd, offset, n); /* this file system cannot */
        }
        if (k < 0) {
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        }
        if (k == 0) {
            return file_ended(w, n);
        }
        n -= (size_t)k;
    }
    return 0;
}

/* -EINVAL means that nothing was sent: not true any more. */
static int
now_out(int e)
{
    return e == -EINVAL ? -EIO : e;
}

/* Reads the first record's content, so that a small file goes out with its head
 * in one call, and files with a wrong size (sysfs) are noticed. 1 = the file
 * ended here. */
static int
send_first(struct fcgi_worker *w, struct iovec head, int fd, off_t offset,
           size_t n, uint64_t *ret_sent)
{
    uint8_t h[FCGI_HEADER];
    char piece[FCGI_PIECE];

    assert(head.iov_len <= FCGI_PIECE);
    n = n < FCGI_PIECE - head.iov_len ? n : FCGI_PIECE - head.iov_len;
    ssize_t got = read_piece(fd, piece, n, offset);
    if (got < 0) {
        return -EINVAL; /* nothing was sent: let Python say why */
    }
    size_t length = head.iov_len + (size_t)got;
    if (length == 0) {
        return 1;
    }
    struct iovec v[3] = {{h, FCGI_HEADER}, head, {piece, (size_t)got}};
    fcgi_header(h, FCGI_STDOUT, w->c->parser.id, length);
    *ret_sent = (uint64_t)got;
    w->begun = true;
    int e = now_out(send_loop(w, v, 3, true, 0));
    return e < 0 ? e : (size_t)got < n;
}

static int
send_pieces(struct fcgi_worker *w, int fd, off_t offset, uint64_t count,
            uint64_t *ret_sent)
{
    uint8_t h[FCGI_HEADER];

    offset += (off_t)*ret_sent;
    while (*ret_sent < count) {
        uint64_t left = count - *ret_sent;
        size_t n = left < FCGI_PIECE ? (size_t)left : FCGI_PIECE;
        struct iovec v = {h, FCGI_HEADER};
        fcgi_header(h, FCGI_STDOUT, w->c->parser.id, n);
        int e = send_loop(w, &v, 1, true, MSG_MORE);
        if (e == 0) {
            e = send_piece(w, fd, &offset, n);
        }
        if (e < 0) {
            return e;
        }
        *ret_sent += n;
    }
    return 0;
}

static int
send_head_and_file(struct fcgi_worker *w, struct iovec head, int fd,
                   off_t offset, uint64_t count, uint64_t *ret_sent)
{
    size_t first = count < FCGI_PIECE ? (size_t)count : FCGI_PIECE;
    int e = send_first(w, head, fd, offset, first, ret_sent);

    if (e != 0) {
        return e < 0 ? e : 0; /* shorter than its size: this was all */
    }
    return now_out(send_pieces(w, fd, offset, count, ret_sent));
}

int
fcgi_send_file(struct request *q, struct iovec head, int fd, off_t offset,
               uint64_t count, uint64_t *ret_sent)
{
    struct fcgi_worker *w = fcgi_of(q);

    if (w->broken) {
        return -EPIPE;
    }
    fcgi_body_look(w);
    /* sendfile() can only block, and a peer may still be sending; a head larger
     * than a record takes the other way too. */
    if (!fcgi_body_complete(w) || head.iov_len > FCGI_PIECE) {
        return -EINVAL;
    }
    set_send_timeout(w);
    request_wait_begin(q, WAIT_SENDING);
    w->sending = true;
    int e = send_head_and_file(w, head, fd, offset, count, ret_sent);
    w->sending = false;
    request_wait_end(q);
    if (e < 0 && e != -EINVAL && e != -EMSGSIZE) {
        set_broken(w);
    }
    return e;
}

/* -- a response that is not whole ----------------------------------------- */

/* A record of an unknown version is an error to every server that checks. It is
 * not sent always: nginx then drops what it has not passed on yet, and a client
 * that has no byte of an answer may repeat its request, even a POST. */
void
fcgi_break_off(struct fcgi_worker *w)
{
    uint8_t header[FCGI_HEADER] = {0};
    struct iovec v = {header, sizeof header};

    fcgi_body_look(w); /* an ABORT_REQUEST gets its END_REQUEST */
    if (w->begun && !w->broken && !w->sending && !w->body.aborted &&
        !close_is_noticed(w)) {
        w->sending = true;
        (void)send_loop(w, &v, 1, false, 0);
        w->sending = false;
        w->broken = true;
    }
}
