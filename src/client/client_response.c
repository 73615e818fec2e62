/*
 * client_response.c - reads the response of a backend: head and body
 */
#include "client/client_response.h"

#include "client/fcgi_client.h"
#include "os/log.h"
#include "text/num.h"

#include <assert.h>
#include <errno.h>
#include <fastcgi.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

enum { HEAD_MAX = 1 << 20 };

void
client_response_init(struct client_response *a)
{
    *a = (struct client_response){.reason = ""};
    buf_init(&a->head, HEAD_MAX);
}

void
client_response_fini(struct client_response *a)
{
    buf_fini(&a->head);
}

/* -- the head -------------------------------------------------------------- */

const char *
client_response_header(const struct client_response *a, const char *name)
{
    size_t n = strlen(name);

    for (size_t at = 0; at < a->head.len; at += strlen(a->head.data + at) + 1) {
        const char *line = a->head.data + at;
        if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
            line += n + 1;
            return line + strspn(line, " \t");
        }
    }
    return NULL;
}

/* The length of the head with its empty line; 0: it is not complete. Lines may
 * end in "\n" alone. */
static size_t
head_end(const struct buf *b, size_t from)
{
    for (size_t i = from; i < b->len; i++) {
        if (b->data[i] != '\n') {
            continue;
        }
        if (i == 0 || b->data[i - 1] == '\n' ||
            (b->data[i - 1] == '\r' && (i == 1 || b->data[i - 2] == '\n'))) {
            return i + 1;
        }
    }
    return 0;
}

/* Makes each line a string. False where one is not a header, so that this is
 * not a CGI response. */
static bool
split_head(struct buf *head)
{
    size_t to = 0;

    for (size_t at = 0; at < head->len;) {
        char *line = head->data + at;
        char *end = memchr(line, '\n', head->len - at);
        size_t n = end == NULL ? head->len - at : (size_t)(end - line);
        at += n + 1;
        if (n > 0 && line[n - 1] == '\r') {
            n--;
        }
        if (n == 0) {
            break;
        }
        if (memchr(line, '\0', n) != NULL || line[0] == ':' ||
            memchr(line, ':', n) == NULL) {
            return false;
        }
        memmove(head->data + to, line, n);
        to += n;
        head->data[to++] = '\0';
    }
    assert(to <= head->len);
    head->len = to;
    return to > 0;
}

static int
read_head(struct client_response *a)
{
    uint64_t status;

    assert(!a->has_head);
    a->has_head = true;
    if (!split_head(&a->head)) {
        return -EBADMSG;
    }
    const char *text = client_response_header(a, "Status");
    if (text == NULL) {
        a->status = client_response_header(a, "Location") != NULL ? 302 : 200;
    }
    else {
        if (strlen(text) < 3 || num_parse(text, 3, 999, &status) < 0 ||
            status < 100) {
            return -EBADMSG;
        }
        a->status = (int)status;
        a->reason = text + 3 + strspn(text + 3, " ");
    }
    return 0;
}

/* -- the response ---------------------------------------------------------- */

static int
deliver(struct client_response *a,
        int (*to)(struct client_response *a, const char *bytes, size_t n),
        const char *bytes, size_t n)
{
    int e = to == NULL || n == 0 ? 0 : to(a, bytes, n);
    a->sink_failed = e < 0;
    return e;
}

int
client_response_take(void *response, bool is_errors, const char *bytes,
                     size_t n)
{
    struct client_response *a = response;

    if (is_errors) {
        return deliver(a, a->on_errors, bytes, n);
    }
    if (a->has_head) {
        return deliver(a, a->on_body, bytes, n);
    }
    size_t had = a->head.len;
    int e = buf_add(&a->head, bytes, n);
    if (e < 0) {
        return e;
    }
    /* The first of the two line ends may have come before. */
    assert(had <= a->head.len);
    size_t end = head_end(&a->head, had);
    if (end == 0) {
        return 0;
    }
    a->head.len = end;
    e = read_head(a);
    if (e == 0 && a->on_head != NULL) {
        e = a->on_head(a);
        a->sink_failed = e < 0;
    }
    return e == 0 ? deliver(a, a->on_body, bytes + (end - had), n - (end - had))
                  : e;
}

static int
refused(const struct connection *p, unsigned protocol_status)
{
    log_error("%s: %s: %s", p->option, p->address,
              fcgi_records_refusal(protocol_status));
    return EX_UNAVAILABLE;
}

int
client_response_get(struct client_response *a, struct connection *p,
                    const struct buf *vars, struct upload *body)
{
    struct fcgi_client_end end;
    int e = fcgi_client_request(p, vars, body, client_response_take, a, &end);

    /* A callback returns -EMSGSIZE, too: the response of the peer is too
     * large. */
    if (e < 0 && a->sink_failed && e != -EMSGSIZE) {
        log_error("%s: cannot write the answer: %s", p->option, strerror(-e));
        return EX_IOERR;
    }
    if (e < 0 && end.body_failed) {
        log_error("--data-file: %s", e == -ENODATA
                                         ? "it became shorter while it was read"
                                         : strerror(-e));
        return EX_NOINPUT;
    }
    if (e < 0 && e != -EBADMSG) {
        return connection_failed(p, e);
    }
    if (e == 0 && end.protocol_status != FCGI_REQUEST_COMPLETE) {
        return refused(p, end.protocol_status);
    }
    if (e < 0 || !a->has_head) {
        log_error("%s: %s: the answer is not a CGI response", p->option,
                  p->address);
        return EX_UNAVAILABLE;
    }
    return 0;
}
