#include "gateway/response.h"

#include "gateway/transport.h"
#include "text/html.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ERROR_PAGE_MAX = 64 << 10 };

/* -- sending -------------------------------------------------------------- */

bool
response_head_sent(const struct response *r)
{
    return r->state == RESPONSE_SENT || r->state == RESPONSE_DONE;
}

/* The CGI fields come before all others (RFC 3875, 8.2).
 * CGI needs Status in the first line (busybox httpd reads it nowhere else).
 * FastCGI needs Location before Status (HAProxy turns a Status 201, 303 or 307
 * before a Location into a 302). */
static int
assemble_head(struct request *q)
{
    static const char nph_end[] = "Connection: close\r\n";
    struct response *r = &q->response;
    const struct buf *order[] = {&r->location, &r->status_text, &r->type,
                                 &r->fields};

    if (q->transport->status_first) {
        order[0] = &r->status_text;
        order[1] = &r->location;
    }
    r->head.len = 0;
    if (r->status == 204) {
        response_drop_length(r); /* RFC 9110, 8.6: it must have none */
    }
    if (q->transport->is_nph &&
        memcmp(r->status_text.data, "Status: ", 8) == 0) {
        /* "Status: 200 OK" -> "HTTP/1.1 200 OK": one byte longer. */
        if (buf_add(&r->fields, nph_end, sizeof nph_end - 1) < 0 ||
            buf_reserve(&r->status_text, 1) < 0) {
            return -ENOMEM;
        }
        memmove(r->status_text.data + 9, r->status_text.data + 8,
                r->status_text.len - 8);
        memcpy(r->status_text.data, "HTTP/1.1 ", 9);
        r->status_text.len++;
    }
    if (buf_reserve(&r->head, r->status_text.len + r->location.len +
                                  r->type.len + r->fields.len + 2) < 0) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
        if (order[i]->len > 0) {
            memcpy(r->head.data + r->head.len, order[i]->data, order[i]->len);
            r->head.len += order[i]->len;
        }
    }
    assert(r->head.cap - r->head.len >= 2);
    memcpy(r->head.data + r->head.len, "\r\n", 2);
    r->head.len += 2;
    return 0;
}

bool
response_is_peer_error(int err)
{
    switch (err) {
    case -EPIPE:
    case -ECONNRESET:
    case -ECONNABORTED:
    case -ETIMEDOUT: /* also --write-timeout */
    case -EHOSTDOWN:
    case -EHOSTUNREACH:
    case -ENETDOWN:
    case -ENETUNREACH:
        return true;
    default:
        return false;
    }
}

/* After a failed write nothing more can be said to this peer. */
static int
failed(struct request *q, int err)
{
    if (response_is_peer_error(err)) {
        response_client_gone(q);
    }
    else {
        response_abort(q);
    }
    return err;
}

/* The end could not be sent, but the peer has the whole body and knows its
 * length: it may leave then, as lighttpd does. */
static bool
is_whole_without_end(const struct request *q, size_t nblocks, int err)
{
    const struct response *r = &q->response;

    return nblocks == 0 && r->has_length && r->sent == r->content_length &&
           response_is_peer_error(err);
}

static int
can_send(const struct request *q)
{
    enum response_state state = q->response.state;

    if (!pthread_equal(q->owner, pthread_self())) {
        return -EBUSY;
    }
    return state == RESPONSE_SET || state == RESPONSE_SENT ? 0 : -EPIPE;
}

/* Sends blocks[1..n]; blocks[0] is room for the head. */
static int
send_blocks(struct request *q, struct iovec *blocks, size_t n, int flags)
{
    struct response *r = &q->response;

    assert(n > 0 && (r->state == RESPONSE_SET || r->state == RESPONSE_SENT));
    if (r->state == RESPONSE_SENT) {
        blocks++;
        n--;
    }
    else {
        int e = assemble_head(q);
        if (e < 0) {
            return failed(q, e);
        }
        blocks[0] = (struct iovec){r->head.data, r->head.len};
        r->state = RESPONSE_SENT;
    }
    int e = q->transport->send(q, blocks, n, flags);
    if (e < 0 && !is_whole_without_end(q, n, e)) {
        return failed(q, e);
    }
    if ((flags & SEND_END) != 0) {
        r->state = RESPONSE_DONE;
    }
    return 0;
}

/* How much of n more body bytes may go out. */
static size_t
allowed(struct response *r, size_t n)
{
    assert(!r->has_length || r->sent <= r->content_length);
    if (!r->has_body) {
        return 0;
    }
    if (r->has_length && n > r->content_length - r->sent) {
        r->cut = true;
        return (size_t)(r->content_length - r->sent);
    }
    return n;
}

static bool
is_full(const struct response *r)
{
    return !r->has_body || (r->has_length && r->sent == r->content_length);
}

/* An empty block does not send the head, nor does one of a response without a
 * body: the head then waits for response_finish(). */
int
response_write(struct request *q, const void *block, size_t n)
{
    struct response *r = &q->response;
    int e;

    if (r->state == RESPONSE_DONE && q->used_write && r->has_length &&
        pthread_equal(q->owner, pthread_self())) {
        r->cut = n > 0;
        return RESPONSE_FULL;
    }
    e = can_send(q);
    if (e < 0) {
        return e;
    }
    q->used_write = true;
    r->cut = false;
    if (n == 0) {
        return 0;
    }
    if (!r->has_body) {
        return RESPONSE_FULL;
    }
    n = allowed(r, n);
    r->sent += n;
    /* Servers count: they close, or send SIGTERM, once they have everything. */
    bool full = is_full(r);
    if (n > 0 || full) {
        struct iovec v[2] = {[1] = {(void *)(uintptr_t)block, n}};
        e = send_blocks(q, v, 2, full ? SEND_END : 0);
        if (e < 0) {
            return e;
        }
    }
    return full ? RESPONSE_FULL : 0;
}

static int
send_all(struct request *q, struct iovec *v, const struct iovec *blocks,
         size_t nblocks)
{
    struct response *r = &q->response;
    size_t n = 1;

    for (size_t i = 0; i < nblocks; i++) {
        size_t len = allowed(r, blocks[i].iov_len);
        if (len > 0) {
            v[n++] = (struct iovec){blocks[i].iov_base, len};
            r->sent += len;
        }
    }
    if (r->has_length && r->has_body && r->sent < r->content_length) {
        int e = send_blocks(q, v, n, 0);
        return e < 0 ? e : response_finish(q);
    }
    return send_blocks(q, v, n, SEND_END);
}

int
response_write_all(struct request *q, const struct iovec *blocks,
                   size_t nblocks)
{
    struct response *r = &q->response;
    struct iovec few[16];
    int e;

    e = can_send(q);
    if (e < 0) {
        return e;
    }
    if (r->state == RESPONSE_SET && r->has_body && !r->has_length &&
        q->role != ROLE_AUTHORIZER) {
        uint64_t total = 0;
        for (size_t i = 0; i < nblocks; i++) {
            total += blocks[i].iov_len;
        }
        if ((e = response_set_length(r, total)) < 0) {
            return failed(q, e);
        }
    }
    if (nblocks < ARRAY_SIZE(few)) {
        return send_all(q, few, blocks, nblocks);
    }
    struct iovec *v = calloc(nblocks + 1, sizeof *v);
    if (v == NULL) {
        return failed(q, -ENOMEM);
    }
    e = send_all(q, v, blocks, nblocks);
    free(v);
    return e;
}

int
response_send_file(struct request *q, int fd, off_t offset, uint64_t count,
                   uint64_t *ret_sent)
{
    struct response *r = &q->response;
    struct iovec head = {NULL, 0};
    int e;

    *ret_sent = 0;
    e = can_send(q);
    if (e < 0) {
        return e;
    }
    if (!r->has_body) {
        return RESPONSE_FULL;
    }
    if (r->has_length && count > r->content_length - r->sent) {
        count = r->content_length - r->sent;
    }
    if (count == 0 || q->transport->send_file == NULL) {
        return count == 0 ? (is_full(r) ? RESPONSE_FULL : 0) : -EINVAL;
    }
    if (r->state == RESPONSE_SET) {
        if ((e = assemble_head(q)) < 0) {
            return failed(q, e);
        }
        head = (struct iovec){r->head.data, r->head.len};
    }
    e = q->transport->send_file(q, head, fd, offset, count, ret_sent);
    if (e == -EINVAL) {
        return e; /* nothing was sent: the caller reads and writes */
    }
    assert(*ret_sent <= count);
    r->state = RESPONSE_SENT;
    r->sent += *ret_sent;
    return e < 0 ? failed(q, e) : is_full(r) ? RESPONSE_FULL : 0;
}

int
response_finish(struct request *q)
{
    struct response *r = &q->response;
    struct iovec v[1];
    int e;

    if (r->state == RESPONSE_DONE) {
        return 0;
    }
    e = can_send(q);
    if (e < 0) {
        return e;
    }
    if (r->has_length && r->has_body && r->sent < r->content_length) {
        if (r->state == RESPONSE_SET && (e = send_blocks(q, v, 1, 0)) < 0) {
            return e;
        }
        response_abort(q);
        return -EMSGSIZE;
    }
    return send_blocks(q, v, 1, SEND_END);
}

void
response_note_relayed(struct request *q, int status, uint64_t sent,
                      bool is_whole)
{
    struct response *r = &q->response;

    assert(r->state == RESPONSE_NONE);
    r->state = is_whole ? RESPONSE_DONE : RESPONSE_SENT;
    r->status = status;
    r->sent = sent;
    r->is_relayed = true;
}

static void
end_early(struct request *q, enum request_result why)
{
    struct response *r = &q->response;

    if (r->state != RESPONSE_DONE && r->state != RESPONSE_ABORTED) {
        r->state = RESPONSE_ABORTED;
        q->exit_status = 1;
        request_note_result(q, why);
        q->transport->abort(q);
    }
}

void
response_abort(struct request *q)
{
    end_early(q, REQUEST_FAILED);
}

void
response_client_gone(struct request *q)
{
    end_early(q, REQUEST_CLIENT_GONE);
}

/* -- error pages ---------------------------------------------------------- */

static int
add_retry_after(struct response *r, int64_t seconds)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%lld", (long long)seconds);

    assert(n > 0 && n < (int)sizeof text);
    return response_add_header(r, "Retry-After", 11, text, (size_t)n);
}

/* retry_after_s: for the header of this name; -1 = without it. */
static void
send_error_page(struct request *q, const char *status, const char *html,
                size_t n, int64_t retry_after_s)
{
    static const char type[] = "text/html; charset=utf-8";
    struct response *r = &q->response;

    if (status[0] == '5') {
        q->exit_status = 1;
        request_note_result(q, REQUEST_FAILED);
    }
    if (r->state != RESPONSE_NONE && r->state != RESPONSE_SET) {
        /* 4xx: what the client sent ended the response. */
        end_early(q, REQUEST_CLIENT_GONE);
        return;
    }
    response_reset(r);
    r->sent = 0;
    if (response_set_status(r, status, strlen(status)) != RESPONSE_OK ||
        response_add_header(r, "Content-Type", 12, type, sizeof type - 1) !=
            RESPONSE_OK ||
        response_add_header(r, "Cache-Control", 13, "no-store", 8) !=
            RESPONSE_OK ||
        (retry_after_s >= 0 &&
         add_retry_after(r, retry_after_s) != RESPONSE_OK)) {
        response_abort(q);
        return;
    }
    struct iovec body = {(void *)(uintptr_t)html, n};
    if (response_write_all(q, &body, 1) < 0) {
        return; /* the peer is gone: nobody wants the page */
    }
}

void
response_error_page(struct request *q, const char *status, const char *html,
                    size_t n)
{
    send_error_page(q, status, html, n, -1);
}

static int
add_escaped(struct buf *b, const char *text)
{
    struct text_writer w = {.out = b};

    html_line(&w, text);
    return w.err;
}

static int
small_page(struct buf *b, const char *status, const char *sentence,
           const char *id)
{
    int e;

    if ((e = buf_add_str(b, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
                            "<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
                            "content=\"width=device-width\">\n<title>")) < 0 ||
        (e = add_escaped(b, status)) < 0 ||
        (e = buf_add_str(b, "</title>\n</head>\n<body>\n<h1>")) < 0 ||
        (e = add_escaped(b, status)) < 0 ||
        (e = buf_add_str(b, "</h1>\n<p>")) < 0 ||
        (e = add_escaped(b, sentence)) < 0 ||
        (e = buf_add_str(b, "</p>\n")) < 0) {
        return e;
    }
    if (id != NULL &&
        (e = buf_printf(b, "<p>Error id: <code>%s</code></p>\n", id)) < 0) {
        return e;
    }
    return buf_add_str(b, "</body>\n</html>\n");
}

static void
send_small_page(struct request *q, const char *status, const char *sentence,
                const char *id, int64_t retry_after_s)
{
    struct buf page;

    buf_init(&page, ERROR_PAGE_MAX);
    if (small_page(&page, status, sentence, id) < 0) {
        page.len = 0; /* no memory: send only the status */
    }
    send_error_page(q, status, page.data, page.len, retry_after_s);
    buf_fini(&page);
}

void
response_error(struct request *q, const char *status, const char *sentence,
               const char *id)
{
    send_small_page(q, status, sentence, id, -1);
}

void
response_unavailable(struct request *q, const char *sentence,
                     int64_t retry_after_s)
{
    assert(retry_after_s >= 0);
    send_small_page(q, "503 Service Unavailable", sentence, NULL,
                    retry_after_s);
}

void
response_give_up(struct request *q, const char *status, const char *sentence,
                 const char *id)
{
    struct wait_hooks hooks = q->hooks;
    pthread_t owner = q->owner;

    q->hooks = (struct wait_hooks){.enter = NULL};
    q->owner = pthread_self();
    response_error(q, status, sentence, id);
    if (q->transport->hang_up != NULL) {
        q->transport->hang_up(q);
    }
    q->owner = owner;
    q->hooks = hooks;
}
