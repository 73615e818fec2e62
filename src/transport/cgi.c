#include "transport/cgi.h"

#include "base/clock.h"
#include "gateway/access_log.h"
#include "gateway/transport.h"
#include "os/fd.h"
#include "transport/spool.h"
#include "transport/wait.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PIPE_PIECE = 4096,    /* PIPE_BUF: does not block once poll() says so */
    DRAIN_MAX = 64 << 20, /* of a body that was not read */
    DRAIN_TIME_MS = 10000
};

struct cgi {
    struct request q;  /* first: the transport gets only this */
    struct cgi_io *io; /* the caller's; out_fd is closed early */
    bool out_is_socket;
    bool in_eof;
    int in_error;       /* -errno: why it ended */
    int in_lost;        /* -errno: why input is dropped, not spooled */
    struct spool spool; /* body read before the application asked */
    uint64_t spooled;   /* bytes written there so far */
    uint64_t taken;     /* bytes read from in_fd */
};

const char *
cgi_log_id(void)
{
    static char id[REQUEST_ID_MAX + 1];
    static struct request_ids ids;
    const char *sent = getenv("HTTP_X_REQUEST_ID");

    if (id[0] != '\0') {
        return id;
    }
    if (sent != NULL && request_id_is_good(sent, strlen(sent))) {
        memcpy(id, sent, strlen(sent) + 1);
    }
    else {
        request_id_make(&ids, id);
    }
    return id;
}

static struct cgi *
cgi_of(struct request *q)
{
    void *p = q;
    return p;
}

/* -- the body ------------------------------------------------------------- */

/* How much of the body has not been read from in_fd. */
static uint64_t
left_to_take(const struct cgi *c)
{
    if (c->in_eof) {
        return 0;
    }
    if (c->q.content_length < 0) {
        return c->q.input_terminated ? UINT64_MAX : 0;
    }
    return (uint64_t)c->q.content_length - c->taken;
}

/* One read(2) that is known not to block, or a file. */
static ssize_t
take(struct cgi *c, void *to, size_t size)
{
    uint64_t left = left_to_take(c);
    ssize_t n;

    if (size > left) {
        size = (size_t)left;
    }
    do {
        n = size == 0 ? 0 : read(c->io->in_fd, to, size);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        if (errno != EAGAIN) {
            c->in_error =
                -errno; /* the next read reports it; the response goes on */
            c->in_eof = true;
        }
        return -errno;
    }
    c->in_eof = c->in_eof || n == 0;
    c->taken += (uint64_t)n;
    return n;
}

static ssize_t
cgi_read(struct request *q, enum request_stream s UNUSED, void *to, size_t size)
{
    struct cgi *c = cgi_of(q);
    ssize_t n = spool_read(&c->spool, to, size);

    if (n == 0 && c->in_lost != 0) {
        return c->in_lost;
    }
    while (n == 0 && left_to_take(c) > 0) {
        int r = transport_wait(q, c->io->in_fd, POLLIN,
                               clock_ms() + q->config->body_timeout_ms);
        if (r < 0) {
            return r;
        }
        n = take(c, to, size);
        if (n != -EAGAIN) {
            break;
        }
        n = 0;
    }
    return n == 0 && c->in_error != 0 ? c->in_error : n;
}

/* Spools what was read. If there is no room for it the next read fails; the
 * response goes on, and further input is dropped. */
static void
set_aside(struct cgi *c, const char *piece, ssize_t n)
{
    if (n > 0 && c->in_lost == 0) {
        c->in_lost = spool_write(&c->spool, piece, (size_t)n);
    }
}

static int64_t
cgi_take_body(struct request *q)
{
    struct cgi *c = cgi_of(q);
    uint64_t limit = q->config->limit_body;
    char piece[16 << 10];

    while (left_to_take(c) > 0) {
        int r = transport_wait(q, c->io->in_fd, POLLIN,
                               clock_ms() + q->config->body_timeout_ms);
        ssize_t n = r < 0 ? r : take(c, piece, sizeof piece);
        if (n < 0 && n != -EAGAIN) {
            return n;
        }
        if (c->taken > (limit > 0 ? limit : SPOOL_MAX)) {
            c->in_lost = -EMSGSIZE;
        }
        set_aside(c, piece, n);
        if (c->in_lost != 0) {
            return c->in_lost;
        }
    }
    return (int64_t)c->taken;
}

static const struct cgi *
const_cgi_of(const struct request *q)
{
    const void *p = q;
    return p;
}

bool
cgi_body_is_over(const struct request *q)
{
    const struct cgi *c = const_cgi_of(q);

    return spool_size(&c->spool) == 0 && left_to_take(c) == 0 &&
           c->in_error == 0 && c->in_lost == 0;
}

int
cgi_body_fd(const struct request *q)
{
    const struct cgi *c = const_cgi_of(q);

    return spool_size(&c->spool) > 0 || left_to_take(c) == 0 ? -1
                                                             : c->io->in_fd;
}

ssize_t
cgi_body_take(struct request *q, void *to, size_t size)
{
    struct cgi *c = cgi_of(q);
    ssize_t n = spool_read(&c->spool, to, size);

    if (n == 0 && c->in_lost != 0) {
        return c->in_lost;
    }
    if (n == 0 && left_to_take(c) > 0) {
        n = take(c, to, size);
    }
    return n == 0 && c->in_error != 0 ? c->in_error : n;
}

int
cgi_body_put_back(struct request *q, const void *bytes, size_t n)
{
    struct cgi *c = cgi_of(q);

    if (spool_size(&c->spool) > 0) {
        return -EBUSY; /* they would come behind what is there */
    }
    return spool_write(&c->spool, bytes, n);
}

/* -- the response --------------------------------------------------------- */

/* poll() between the hooks: what is ready, 0 where a signal came, or -errno,
 * -ECANCELED for a cancelled request. */
static int
poll_hooked(struct request *q, struct pollfd *p, nfds_t np)
{
    request_wait_begin(q, WAIT_SENDING);
    /* From here on the signal comes; before, it may have been an exception. */
    bool cancelled = request_is_cancelled(q);
    int n = poll(p, np, cancelled ? 0 : -1);
    int err = errno;
    request_wait_end(q);
    if (n < 0) {
        return err == EINTR ? 0 : -err;
    }
    return n == 0 && cancelled ? -ECANCELED : n;
}

/* RFC 3875 lets a server write all of the body before it reads anything: read
 * it while we wait for room, or both wait for ever. */
static int
wait_writable(struct cgi *c)
{
    char piece[16 << 10];

    for (;;) {
        struct pollfd p[2] = {
            {.fd = c->io->out_fd, .events = POLLOUT},
            {.fd = left_to_take(c) > 0 ? c->io->in_fd : -1, .events = POLLIN}};
        int n = poll_hooked(&c->q, p, ARRAY_SIZE(p));
        if (n < 0) {
            return n;
        }
        if (n == 0) {
            continue;
        }
        if (p[1].revents != 0) {
            set_aside(c, piece, take(c, piece, sizeof piece));
        }
        if (p[0].revents != 0) {
            return 0;
        }
    }
}

/* One write. It may block if nothing of the body is left; else, and for a
 * cancelled request, it writes only as much as cannot block. */
static ssize_t
write_some(struct cgi *c, struct iovec *v, size_t n)
{
    ssize_t k;
    int err;

    if (left_to_take(c) > 0 || request_is_cancelled(&c->q)) {
        size_t len = v->iov_len;
        int e = wait_writable(c);
        if (e < 0) {
            return e;
        }
        if (c->out_is_socket) {
            k = send(c->io->out_fd, v->iov_base, len,
                     MSG_DONTWAIT | MSG_NOSIGNAL);
        }
        else {
            k = write(c->io->out_fd, v->iov_base,
                      len < PIPE_PIECE ? len : PIPE_PIECE);
        }
        return k < 0 ? -errno : k;
    }
    request_wait_begin(&c->q, WAIT_SENDING);
    if (request_is_cancelled(&c->q)) { /* as poll_hooked() */
        k = -1;
        err = EAGAIN;
    }
    else {
        k = writev(c->io->out_fd, v, (int)n);
        err = errno;
    }
    request_wait_end(&c->q);
    return k < 0 ? -err : k;
}

static int
wait_if_nonblocking(struct cgi *c, ssize_t err)
{
    if (err == -EINTR) {
        return 0;
    }
    /* The server's end of a shared description may be non-blocking. */
    return err == -EAGAIN ? wait_writable(c) : (int)err;
}

/* --graceful-timeout, for the signal handler; 0 = not installed. */
static unsigned term_grace_s;

/* lighttpd sends SIGTERM as soon as it has Content-Length bytes: close(),
 * atexit functions and open files must still get their turn. A second SIGTERM,
 * or --graceful-timeout, ends us all the same. */
static void
on_term(int number UNUSED)
{
    struct sigaction sa = {.sa_handler = SIG_DFL};

    (void)sigaction(SIGTERM, &sa, NULL);
    (void)alarm(term_grace_s);
}

static void
outlive_term(const struct config *config)
{
    struct sigaction sa;

    if (term_grace_s > 0) {
        return; /* once: the second SIGTERM ends us */
    }
    if (sigaction(SIGTERM, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL) {
        int64_t ms = config->graceful_timeout_ms;
        term_grace_s = ms > 1000 ? (unsigned)((ms + 999) / 1000) : 1;
        sa = (struct sigaction){.sa_handler = on_term, .sa_flags = SA_RESTART};
        (void)sigaction(SIGTERM, &sa, NULL);
    }
}

static int
cgi_send(struct request *q, struct iovec *v, size_t n, int flags)
{
    struct cgi *c = cgi_of(q);

    if ((flags & SEND_END) != 0) {
        outlive_term(q->config);
    }
    while (n > 0) {
        if (v->iov_len == 0) {
            v++;
            n--;
            continue;
        }
        ssize_t k = write_some(c, v, n < 512 ? n : 512);
        if (k < 0) {
            int e = wait_if_nonblocking(c, k);
            if (e < 0) {
                return e;
            }
            continue;
        }
        while (n > 0 && (size_t)k >= v->iov_len) {
            k -= (ssize_t)v->iov_len;
            v++;
            n--;
        }
        if (n > 0) {
            v->iov_base = (char *)v->iov_base + k;
            v->iov_len -= (size_t)k;
        }
    }
    return 0;
}

/* Works for every file. */
static int
copy_file(struct cgi *c, int fd, off_t offset, uint64_t count,
          uint64_t *ret_sent)
{
    char piece[16 << 10];

    while (*ret_sent < count) {
        uint64_t left = count - *ret_sent;
        ssize_t n =
            pread(fd, piece, left < sizeof piece ? (size_t)left : sizeof piece,
                  offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -EIO : 0;
        }
        struct iovec v = {piece, (size_t)n};
        int e = cgi_send(&c->q, &v, 1, 0);
        if (e < 0) {
            return e;
        }
        offset += n;
        *ret_sent += (uint64_t)n;
    }
    return 0;
}

static int
cgi_send_file(struct request *q, struct iovec head, int fd, off_t offset,
              uint64_t count, uint64_t *ret_sent)
{
    struct cgi *c = cgi_of(q);
    bool waits = false;

    if (left_to_take(c) > 0) {
        return -EINVAL; /* sendfile() can only block */
    }
    int e = head.iov_len > 0 ? cgi_send(q, &head, 1, 0) : 0;

    outlive_term(q->config); /* the server may count the bytes */
    request_wait_begin(q, WAIT_SENDING);
    while (e == 0 && !waits && *ret_sent < count) {
        uint64_t left = count - *ret_sent;
        bool nothing_yet = left == count;
        ssize_t k = sendfile(c->io->out_fd, fd, &offset,
                             left < 1u << 30 ? (size_t)left : 1u << 30);
        if (k == 0) {
            break; /* the file is shorter than it was */
        }
        if (k > 0) {
            *ret_sent += (uint64_t)k;
        }
        /* Somebody made it non-blocking; O_APPEND; the request is cancelled. */
        else if (errno == EAGAIN || (errno == EINVAL && nothing_yet) ||
                 (errno == EINTR && request_is_cancelled(q))) {
            waits = true;
        }
        else if (errno != EINTR) {
            e = errno == EINVAL ? -EIO : -errno;
        }
    }
    request_wait_end(q);
    return waits ? copy_file(c, fd, offset, count, ret_sent) : e;
}

static void
cgi_abort(struct request *q UNUSED)
{
    /* CGI has only the exit code for this; response_abort() sets it. */
}

static bool
cgi_peer_gone(struct request *q)
{
    struct pollfd p = {.fd = cgi_of(q)->io->out_fd};

    return poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP)) != 0;
}

static const struct transport cgi_transport = {
    .name = "cgi",
    .status_first = true,
    .read = cgi_read,
    .take_body = cgi_take_body,
    .send = cgi_send,
    .send_file = cgi_send_file,
    .abort = cgi_abort,
    .peer_gone = cgi_peer_gone,
};

static const struct transport nph_transport = {
    .name = "cgi",
    .status_first = true,
    .is_nph = true,
    .read = cgi_read,
    .take_body = cgi_take_body,
    .send = cgi_send,
    .send_file = cgi_send_file,
    .abort = cgi_abort,
    .peer_gone = cgi_peer_gone,
};

/* -- the request ---------------------------------------------------------- */

static int
add_params(struct cgi *c, char **environment)
{
    unsigned count = 0;

    for (char **e = environment; *e != NULL; e++) {
        const char *eq = strchr(*e, '=');
        if (eq == NULL || eq == *e) {
            continue;
        }
        if (++count > c->q.config->limit_vars &&
            params_is_header(*e, (size_t)(eq - *e))) {
            continue; /* the others still identify the request in the log */
        }
        int r = params_add(&c->q.params, *e, (size_t)(eq - *e), eq + 1,
                           strlen(eq + 1));
        if (r < 0) {
            return r;
        }
    }
    return count > c->q.config->limit_vars ? -E2BIG : 0;
}

/* RFC 3875, 5: the server recognises these scripts by their name. */
static bool
is_nph(char **environment)
{
    static const char name[] = "SCRIPT_NAME=";

    for (char **e = environment; *e != NULL; e++) {
        if (strncmp(*e, name, sizeof name - 1) == 0) {
            const char *slash = strrchr(*e, '/');
            const char *base = slash == NULL ? *e + sizeof name - 1 : slash + 1;
            return strncmp(base, "nph-", 4) == 0;
        }
    }
    return false;
}

static int
begin(struct cgi *c, const struct config *config, char **environment,
      struct cgi_io *io)
{
    struct stat st;

    memset(c, 0, sizeof *c);
    request_init(&c->q, is_nph(environment) ? &nph_transport : &cgi_transport,
                 config);
    c->q.is_cgi = true;
    memcpy(c->q.id, cgi_log_id(), sizeof c->q.id);
    c->q.params.script_is_file = true;
    c->io = io;
    c->out_is_socket = fstat(io->out_fd, &st) == 0 && S_ISSOCK(st.st_mode);
    spool_init(&c->spool);
    request_set_running(&c->q);
    access_log_begin(&c->q);
    return add_params(c, environment);
}

/* A server may have stdin and stdout on one socket (mod_cgid): exiting with
 * unread input resets it, and the response is lost. */
static void
drain(struct cgi *c)
{
    int64_t wait_ms = c->q.config->body_timeout_ms;
    int64_t end = clock_ms() + DRAIN_TIME_MS;
    uint64_t start = c->taken;
    char waste[16 << 10];

    while (left_to_take(c) > 0 && c->taken - start < DRAIN_MAX) {
        int64_t deadline = clock_ms() + wait_ms;
        if (deadline > end) {
            deadline = end;
        }
        if (transport_wait(&c->q, c->io->in_fd, POLLIN, deadline) < 0) {
            break;
        }
        ssize_t n = take(c, waste, sizeof waste);
        if (n <= 0 && n != -EAGAIN) {
            break;
        }
    }
}

static int
finish(struct cgi *c, cgi_run_fn after, void *arg)
{
    int status;

    if (c->q.response.state != RESPONSE_DONE) {
        response_abort(&c->q);
    }
    /* The server may wait for the end of the output: end it before the rest of
     * the input is drained. */
    if (c->out_is_socket && fd_same(c->io->in_fd, c->io->out_fd)) {
        (void)shutdown(c->io->out_fd, SHUT_WR);
    }
    else {
        fd_close(&c->io->out_fd);
    }
    access_log_end(&c->q);
    c->q.serial = 0; /* the request is over: nothing cancels the drain */
    drain(c);
    /* Some servers take the end of the output for the end of the request. */
    fd_close(&c->io->out_fd);
    fd_close(&c->io->in_fd);
    if (after != NULL && c->q.has_after) {
        outlive_term(c->q.config);
        request_detach(&c->q);
        after(arg, &c->q);
    }
    request_set_running(NULL);
    status = c->q.exit_status;
    spool_fini(&c->spool);
    request_fini(&c->q);
    return status;
}

int
cgi_run(const struct config *config, char **environment, struct cgi_io *io,
        cgi_run_fn run, cgi_run_fn after, void *arg)
{
    struct cgi c;

    int r = begin(&c, config, environment, io);
    if (r == -E2BIG) {
        request_refuse(&c.q, PARAMS_TOO_MANY);
    }
    else if (r < 0) {
        response_error(&c.q, "500 Internal Server Error", "Out of memory.",
                       NULL);
    }
    else if (request_prepare(&c.q) == 0) {
        run(arg, &c.q);
    }
    return finish(&c, after, arg);
}

static void
answer_failure(struct request *q)
{
    response_error(q, "500 Internal Server Error",
                   "The application could not be started. The server's log "
                   "says why.",
                   request_id(q));
}

void
cgi_refuse(struct request *q, int status)
{
    answer_failure(q);
    q->exit_status = status;
}

void
cgi_fail(const struct config *config, char **environment, struct cgi_io *io)
{
    struct cgi c;

    int r = begin(&c, config, environment, io);
    if (r == 0 || r == -E2BIG) {
        c.q.response.is_head = params_is(&c.q.params, "REQUEST_METHOD", "HEAD");
        c.q.content_length = params_length(&c.q.params, "CONTENT_LENGTH");
        answer_failure(&c.q);
    }
    (void)finish(&c, NULL, NULL);
}
