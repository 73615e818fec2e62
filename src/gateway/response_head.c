/*
 * response_head.c - status and headers of a response, checked and held
 */
#include "gateway/response.h"

#include "text/num.h"
#include "text/token.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

enum {
    HEAD_MAX = 16 << 20, /* no real head is larger */
    KEEP_MAX = 64 << 10  /* memory kept from one request to the next */
};

void
response_init(struct response *r)
{
    memset(r, 0, sizeof *r);
    buf_init(&r->status_text, HEAD_MAX);
    buf_init(&r->location, HEAD_MAX);
    buf_init(&r->type, HEAD_MAX);
    buf_init(&r->fields, HEAD_MAX);
    buf_init(&r->head, HEAD_MAX);
}

void
response_fini(struct response *r)
{
    buf_fini(&r->status_text);
    buf_fini(&r->location);
    buf_fini(&r->type);
    buf_fini(&r->fields);
    buf_fini(&r->head);
}

static void
clear_buf(struct buf *b)
{
    b->len = 0;
    if (b->cap > KEEP_MAX) {
        buf_fini(b);
    }
}

void
response_reset(struct response *r)
{
    r->state = RESPONSE_NONE;
    r->status = 0;
    r->has_body = !r->is_head;
    r->has_length = r->has_location = r->has_type = false;
    r->content_length = 0;
    r->status_text.len = 0;
    r->location.len = 0;
    r->type.len = 0;
    r->fields.len = 0;
    r->head.len = 0;
}

void
response_clear(struct response *r, bool is_head)
{
    clear_buf(&r->status_text);
    clear_buf(&r->location);
    clear_buf(&r->type);
    clear_buf(&r->fields);
    clear_buf(&r->head);
    r->is_head = is_head;
    r->sent = 0;
    r->cut = false;
    r->is_relayed = false;
    response_reset(r);
}

const char *
response_strerror(enum response_error e)
{
    static const char *const text[RESPONSE_ERROR_MAX] = {
        [RESPONSE_OK] = "no error",
        [RESPONSE_BAD_STATUS] =
            "the status must be three digits, a space and a reason",
        [RESPONSE_BAD_NAME] = "the header's name is not an HTTP token",
        [RESPONSE_BAD_VALUE] = "the header's value has a control character",
        [RESPONSE_BAD_STATUS_CHAR] = "the status has a control character",
        [RESPONSE_HOP_BY_HOP] =
            "hop-by-hop headers are the web server's business",
        [RESPONSE_BAD_CONTENT_LENGTH] =
            "Content-Length must be one number of digits",
        [RESPONSE_TWICE] = "this header may be given only once",
        [RESPONSE_NO_MEMORY] = "out of memory",
        [RESPONSE_FULL] = "Content-Length bytes have been sent",
    };
    return e < 0 || e >= RESPONSE_ERROR_MAX ? "unknown error" : text[e];
}

/* -- setting the head ----------------------------------------------------- */

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Some servers end a line or the head at a control character: none may pass. */
static bool
has_control(const char *s, size_t n, bool allow_tab)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if ((c < 0x20 && !(c == '\t' && allow_tab)) || c == 0x7f) {
            return true;
        }
    }
    return false;
}

int
response_set_status(struct response *r, const char *s, size_t n)
{
    if (n < 3 || !is_digit(s[0]) || !is_digit(s[1]) || !is_digit(s[2]) ||
        (n > 3 && s[3] != ' ')) {
        return RESPONSE_BAD_STATUS;
    }
    /* 1xx is never a final answer. */
    int status = (s[0] - '0') * 100 + (s[1] - '0') * 10 + (s[2] - '0');
    if (status < 200) {
        return RESPONSE_BAD_STATUS;
    }
    if (has_control(s, n, false)) {
        return RESPONSE_BAD_STATUS_CHAR;
    }
    r->status_text.len = 0;
    if (buf_add(&r->status_text, "Status: ", 8) < 0 ||
        buf_add(&r->status_text, s, n) < 0 ||
        (n == 3 && buf_add(&r->status_text, " ", 1) < 0) ||
        buf_add(&r->status_text, "\r\n", 2) < 0) {
        return RESPONSE_NO_MEMORY;
    }
    r->status = status;
    r->has_body = !r->is_head && status != 204 && status != 304;
    r->state = RESPONSE_SET;
    return RESPONSE_OK;
}

static bool
name_is(const char *name, size_t n, const char *what)
{
    return n == strlen(what) && strncasecmp(name, what, n) == 0;
}

static bool
is_hop_by_hop(const char *name, size_t n)
{
    static const char *const names[] = {
        "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
        "TE",         "Trailer",    "Trailers",           "Transfer-Encoding",
        "Upgrade"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (name_is(name, n, names[i])) {
            return true;
        }
    }
    return false;
}

static int
set_length(struct response *r, const char *value, size_t n)
{
    uint64_t length;

    while (n > 0 && value[0] == ' ') {
        value++;
        n--;
    }
    while (n > 0 && value[n - 1] == ' ') {
        n--;
    }
    if (num_parse(value, n, INT64_MAX, &length) < 0 ||
        (r->has_length && r->content_length != length)) {
        return RESPONSE_BAD_CONTENT_LENGTH;
    }
    r->has_length = true;
    r->content_length = length;
    return RESPONSE_OK;
}

static int
add_line(struct buf *to, const char *name, size_t nname, const char *value,
         size_t nvalue)
{
    if (buf_reserve(to, nname + nvalue + 4) < 0) {
        return RESPONSE_NO_MEMORY;
    }
    char *p = to->data + to->len;
    memcpy(p, name, nname);
    p += nname;
    *p++ = ':';
    *p++ = ' ';
    memcpy(p, value, nvalue);
    p += nvalue;
    *p++ = '\r';
    *p = '\n';
    to->len += nname + nvalue + 4;
    assert(to->len <= to->cap);
    return RESPONSE_OK;
}

/* The headers that mean something to CGI. *ret_to is the buffer for the line,
 * NULL if it is dropped. */
static int
special_header(struct response *r, const char *name, size_t nname,
               const char *value, size_t nvalue, struct buf **ret_to)
{
    if (is_hop_by_hop(name, nname)) {
        return RESPONSE_HOP_BY_HOP;
    }
    if (name_is(name, nname, "Status")) {
        *ret_to = NULL;
    }
    else if (name_is(name, nname, "Location")) {
        if (r->has_location) {
            return RESPONSE_TWICE;
        }
        r->has_location = true;
        *ret_to = &r->location;
    }
    else if (name_is(name, nname, "Content-Type")) {
        if (r->has_type) {
            return RESPONSE_TWICE;
        }
        r->has_type = true;
        *ret_to = &r->type;
    }
    else if (name_is(name, nname, "Content-Length")) {
        bool again = r->has_length;
        int e = set_length(r, value, nvalue);
        if (e != RESPONSE_OK) {
            return e;
        }
        if (again) {
            *ret_to = NULL; /* the same length twice: once is enough */
        }
    }
    return RESPONSE_OK;
}

int
response_add_header(struct response *r, const char *name, size_t nname,
                    const char *value, size_t nvalue)
{
    struct buf *to = &r->fields;

    if (!token_is_valid(name, nname)) {
        return RESPONSE_BAD_NAME;
    }
    if (has_control(value, nvalue, true)) {
        return RESPONSE_BAD_VALUE;
    }
    int e = special_header(r, name, nname, value, nvalue, &to);
    if (e != RESPONSE_OK || to == NULL) {
        return e;
    }
    return add_line(to, name, nname, value, nvalue);
}

int
response_set_length(struct response *r, uint64_t length)
{
    char room[NUM_TEXT_SIZE];
    size_t n;
    const char *text = num_text(length, room, &n);

    assert(!r->has_length);
    r->has_length = true;
    r->content_length = length;
    return add_line(&r->fields, "Content-Length", 14, text, n) == RESPONSE_OK
               ? 0
               : -ENOMEM;
}

/* The first line of that name in fields, or NULL. */
static char *
find_field(const struct response *r, const char *name, size_t *ret_len)
{
    const struct buf *b = &r->fields;
    size_t n = strlen(name);

    assert(b->len == 0 || b->data[b->len - 1] == '\n');
    for (size_t at = 0; at < b->len; at += *ret_len) {
        char *line = b->data + at;
        const char *end = memchr(line, '\n', b->len - at);
        *ret_len = end == NULL ? b->len - at : (size_t)(end - line) + 1;
        if (*ret_len > n && line[n] == ':' && strncasecmp(line, name, n) == 0) {
            return line;
        }
    }
    return NULL;
}

bool
response_has_header(const struct response *r, const char *name)
{
    size_t len;

    return find_field(r, name, &len) != NULL;
}

void
response_drop_length(struct response *r)
{
    size_t len;
    char *line = find_field(r, "Content-Length", &len);

    if (line != NULL) {
        size_t end = (size_t)(line - r->fields.data) + len;
        memmove(line, line + len, r->fields.len - end);
        r->fields.len -= len;
    }
    r->has_length = false;
    r->content_length = 0;
}
