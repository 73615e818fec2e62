#include "gateway/access_log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "os/log.h"
#include "os/log_file.h"
#include "text/json.h"
#include "text/num.h"
#include "text/utf8.h"

#include <string.h>

enum {
    FIELD_MAX = 8 << 10,     /* of one text; "..." shows that the rest is cut */
    URI_MAX = 7 << 10,       /* leaves room for the method and the protocol */
    PATH_MAX_EACH = 2 << 10, /* of each part of a URL put together */
    WORD_MAX = 64,
    LINE_ROOM = 512,
    LINE_MAX_BYTES = 256 << 10 /* every byte of all texts escaped */
};

static struct {
    bool is_on;
    bool is_json;
    bool in_log; /* "-" */
    struct log_file file;
    int64_t opened_us;
} access_log = {.file = LOG_FILE_NONE};

int
access_log_open(const struct config *config, int fd, uid_t user)
{
    access_log.is_on = true;
    access_log.is_json = config->log_format == LOG_FORMAT_JSON;
    access_log.in_log = strcmp(config->access_log, "-") == 0;
    access_log.opened_us = clock_us();
    if (access_log.in_log) {
        return 0;
    }
    return fd < 0 ? log_file_open(&access_log.file, config->access_log, user)
                  : log_file_adopt(&access_log.file, config->access_log, fd);
}

int
access_log_fd(void)
{
    return access_log.file.fd;
}

int
access_log_give(uid_t uid, gid_t gid)
{
    return log_file_chown(&access_log.file, uid, gid);
}

int
access_log_reopen(bool moved_only)
{
    if (!access_log.is_on || access_log.in_log ||
        (moved_only && !log_file_has_moved(&access_log.file))) {
        return 0;
    }
    return log_file_reopen(&access_log.file);
}

/* -- the fields of a line ------------------------------------------------- */

struct text {
    const char *s;
    size_t n;
};

static struct text
param_of(const struct request *q, const char *name)
{
    const struct param *p = params_get(&q->params, name);

    return p == NULL ? (struct text){NULL, 0}
                     : (struct text){p->value, p->value_len};
}

/* How much of a text is shown before the dots. */
static size_t
shown_length(struct text t)
{
    return t.n <= FIELD_MAX ? t.n : utf8_whole(t.s, FIELD_MAX);
}

/* At most max bytes, with dots for the rest. */
static int
add(struct buf *to, struct text t, size_t max)
{
    size_t n = t.n <= max ? t.n : utf8_whole(t.s, max);
    int e = buf_add(to, t.s, n);

    return e == 0 && n < t.n ? buf_add_str(to, "...") : e;
}

/* The URL: as the client sent it where the server passes that on. */
static int
add_uri(const struct request *q, struct buf *to)
{
    static const char *const parts[] = {"SCRIPT_NAME", "PATH_INFO"};
    struct text uri = param_of(q, "REQUEST_URI");
    struct text query = param_of(q, "QUERY_STRING");
    int e = 0;

    if (uri.n > 0) {
        return add(to, uri, URI_MAX);
    }
    for (size_t i = 0; e == 0 && i < ARRAY_SIZE(parts); i++) {
        e = add(to, param_of(q, parts[i]), PATH_MAX_EACH);
    }
    if (e == 0 && query.n > 0 && (e = buf_add(to, "?", 1)) == 0) {
        e = add(to, query, PATH_MAX_EACH);
    }
    return e;
}

/* "GET /path?query HTTP/1.1" */
static int
add_request_line(const struct request *q, struct buf *to)
{
    int e = add(to, param_of(q, "REQUEST_METHOD"), WORD_MAX);

    if (e == 0 && (e = buf_add(to, " ", 1)) == 0 && (e = add_uri(q, to)) == 0) {
        e = buf_add(to, " ", 1);
    }
    return e == 0 ? add(to, param_of(q, "SERVER_PROTOCOL"), WORD_MAX) : e;
}

struct line {
    struct text addr, user, request, referer, agent;
    int status; /* 0 = none was sent */
    uint64_t bytes;
    int64_t duration_us;
    const char *id;
    pid_t pid;
    bool aborted;
};

static void
line_fill(struct line *l, struct request *q)
{
    const struct response *r = &q->response;

    l->addr = param_of(q, "REMOTE_ADDR");
    l->user = param_of(q, "REMOTE_USER");
    l->referer = param_of(q, "HTTP_REFERER");
    l->agent = param_of(q, "HTTP_USER_AGENT");
    l->aborted = r->state != RESPONSE_DONE;
    l->status = r->head.len > 0 || r->is_relayed ? r->status : 0;
    l->bytes = r->sent;
    l->id = request_id(q);
    l->pid = q->pid;
}

/* -- text ----------------------------------------------------------------- */

static bool
is_plain(unsigned char c, bool quoted)
{
    return c > 0x20 ? c < 0x7f && c != '"' && c != '\\' : c == ' ' && quoted;
}

static char *
put(char *to, const char *text, size_t n)
{
    memcpy(to, text, n);
    return to + n;
}

static char *
put_text(char *to, const char *text)
{
    return put(to, text, strlen(text));
}

static char *
put_number(char *to, uint64_t value)
{
    char room[NUM_TEXT_SIZE];
    size_t n;
    const char *text = num_text(value, room, &n);

    return put(to, text, n);
}

/* Printable ASCII only: no byte can end the field or the line, or mean anything
 * to a terminal. */
static char *
put_field(char *to, struct text t, bool quoted)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = shown_length(t);

    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)t.s[i];
        if (is_plain(c, quoted)) {
            *to++ = (char)c;
        }
        else {
            const char escaped[] = {'\\', 'x', hex[c >> 4], hex[c & 15]};
            to = put(to, escaped, sizeof escaped);
        }
    }
    if (n == 0) {
        *to++ = '-';
    }
    return put_text(to, n < t.n ? "..." : "");
}

static char *
put_quoted(char *to, struct text t)
{
    *to++ = '"';
    to = put_field(to, t, true);
    return put_text(to, "\" ");
}

/* The caller has reserved the room. */
static char *
put_line(char *to, const struct line *l)
{
    char when[CLOCK_STAMP_SIZE];

    clock_common(when);
    to = put_field(to, l->addr, false);
    to = put_text(to, " - ");
    to = put_field(to, l->user, false);
    to = put_text(to, " [");
    to = put_text(to, when);
    to = put_text(to, "] ");
    to = put_quoted(to, l->request);
    to = l->status == 0 ? put_text(to, "-")
                        : put_number(to, (unsigned)l->status);
    to = put_text(to, " ");
    to = put_number(to, l->bytes);
    to = put_text(to, " ");
    to = put_quoted(to, l->referer);
    to = put_quoted(to, l->agent);
    to = put_text(to, "us=");
    to = put_number(to, (uint64_t)l->duration_us);
    to = put_text(to, " pid=");
    to = put_number(to, (uint64_t)l->pid);
    to = put_text(to, " id=");
    to = put_text(to, l->id);
    return put_text(to, l->aborted ? " aborted\n" : "\n");
}

static int
format_text(struct buf *b, const struct line *l)
{
    const size_t escaped = 4;
    int e = buf_reserve(
        b, LINE_ROOM +
               escaped * (shown_length(l->addr) + shown_length(l->user) +
                          shown_length(l->request) + shown_length(l->referer) +
                          shown_length(l->agent)));

    if (e == 0) {
        b->len = (size_t)(put_line(b->data, l) - b->data);
    }
    return e;
}

/* -- JSON ----------------------------------------------------------------- */

static int
add_member(struct buf *b, const char *name, struct text t)
{
    struct buf cut;
    int e;

    if (t.n <= FIELD_MAX) {
        return json_add_member(b, name, t.s, t.n);
    }
    buf_init(&cut, FIELD_MAX + 3);
    e = add(&cut, t, FIELD_MAX);
    if (e == 0) {
        e = json_add_member(b, name, cut.data, cut.len);
    }
    buf_fini(&cut);
    return e;
}

static int
format_json(struct buf *b, const struct line *l)
{
    char stamp[CLOCK_STAMP_SIZE];
    int e;

    clock_stamp(stamp);
    if ((e = buf_add_str(b, "{\"time\":\"")) < 0 ||
        (e = buf_add_str(b, stamp)) < 0 ||
        (e = buf_add_str(b, "\",\"stream\":\"access\"")) < 0 ||
        (e = json_add_number(b, "pid", (uint64_t)l->pid)) < 0 ||
        (e = json_add_member(b, "request_id", l->id, strlen(l->id))) < 0 ||
        (e = add_member(b, "remote_addr", l->addr)) < 0 ||
        (e = add_member(b, "remote_user", l->user)) < 0 ||
        (e = add_member(b, "request", l->request)) < 0 ||
        (e = l->status == 0
                 ? buf_add_str(b, ",\"status\":null")
                 : json_add_number(b, "status", (uint64_t)l->status)) < 0 ||
        (e = json_add_number(b, "bytes", l->bytes)) < 0 ||
        (e = json_add_number(b, "duration_us", (uint64_t)l->duration_us)) < 0 ||
        (e = add_member(b, "referer", l->referer)) < 0 ||
        (e = add_member(b, "user_agent", l->agent)) < 0) {
        return e;
    }
    return buf_add_str(b, l->aborted ? ",\"aborted\":true}\n"
                                     : ",\"aborted\":false}\n");
}

/* -- a request ------------------------------------------------------------ */

/* In a CGI process the start of Python belongs to the request. */
void
access_log_begin(struct request *q)
{
    if (access_log.is_on) {
        q->start_us = q->is_cgi ? access_log.opened_us : clock_us();
    }
}

/* A function of its own: without a log its buffers cost nothing. */
__attribute__((noinline)) static void
log_request(struct request *q)
{
    struct line l = {.duration_us = clock_us() - q->start_us};
    struct buf request, line;

    buf_init(&request, FIELD_MAX);
    buf_init(&line, LINE_MAX_BYTES);
    line_fill(&l, q);
    if (add_request_line(q, &request) == 0 &&
        buf_reserve(&line, LINE_ROOM) == 0) {
        l.request = (struct text){request.data, request.len};
        int e = access_log.is_json ? format_json(&line, &l)
                                   : format_text(&line, &l);
        if (e == 0 && access_log.in_log) {
            log_raw(line.data, line.len);
        }
        else if (e == 0) {
            /* O_APPEND: lines of other processes do not mix with it. */
            log_write(access_log.file.fd, line.data, line.len);
        }
    }
    buf_fini(&request);
    buf_fini(&line);
}

void
access_log_end(struct request *q)
{
    if (q->start_us != 0) {
        log_request(q);
        q->start_us = 0;
    }
}
