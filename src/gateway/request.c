#include "gateway/request.h"

#include "base/clock.h"
#include "gateway/transport.h"
#include "text/num.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void
request_init(struct request *q, const struct transport *transport,
             const struct config *config)
{
    memset(q, 0, sizeof *q);
    q->transport = transport;
    q->config = config;
    q->pid = getpid();
    params_init(&q->params);
    q->params.keep_raw = config->doctor;
    response_init(&q->response);
    request_clear(q);
}

void
request_fini(struct request *q)
{
    params_fini(&q->params);
    response_fini(&q->response);
}

void
request_clear(struct request *q)
{
    params_clear(&q->params);
    response_clear(&q->response, false);
    q->role = ROLE_RESPONDER;
    q->content_length = -1;
    q->body_read = 0;
    q->data_length = -1;
    q->data_read = 0;
    q->body_error = 0;
    q->body_eof = false;
    q->input_terminated = false;
    q->is_unsized = false;
    q->errors_to_server = -1;
    q->used_write = false;
    q->has_after = false;
    q->owner = pthread_self();
    q->serial = 0;
    q->wait = NULL;
    q->waits_inside = false;
    q->exit_status = 0;
    q->result = REQUEST_SERVED;
    q->id[0] = '\0';
    q->line[0] = '\0';
}

static bool
server_is(const struct request *q, const char *name)
{
    const struct param *e = params_get(&q->params, "SERVER_SOFTWARE");
    size_t n = strlen(name);
    return e != NULL && e->value_len >= n && memcmp(e->value, name, n) == 0;
}

/* HAProxy 2.6 crashes on FCGI_STDERR records: never send it any by default.
 * With a log of our own everything belongs there. */
static bool
wants_errors(const struct request *q)
{
    switch (q->config->errors_to) {
    case ERRORS_TO_SERVER:
        return true;
    case ERRORS_TO_STDERR:
        return false;
    case ERRORS_TO_AUTO:
        break;
    }
    return !log_is_own() && !server_is(q, "HAProxy");
}

/* True if there is a body of unknown length. mini_httpd hides the header that
 * says so, but it sends a length whenever the client does. */
static bool
has_unsized_body(const struct request *q)
{
    const struct params *p = &q->params;

    return params_get(p, "HTTP_TRANSFER_ENCODING") != NULL ||
           (server_is(q, "mini_httpd") &&
            (params_is(p, "REQUEST_METHOD", "POST") ||
             params_is(p, "REQUEST_METHOD", "PUT")));
}

bool
request_tells_server(struct request *q)
{
    if (q->errors_to_server < 0) {
        q->errors_to_server = wants_errors(q);
    }
    return q->errors_to_server > 0;
}

/* FastCGI marks the end of STDIN; in CGI mode only CONTENT_LENGTH tells it. A
 * chunked upload without a length: Apache's mod_cgid ends stdin behind the
 * body; some other servers send no body at all, and a body that is empty by
 * mistake must not reach the application. */
static int
check_framing(struct request *q)
{
    q->input_terminated = true;
    if (!q->is_cgi || q->content_length >= 0) {
        return 0;
    }
    q->input_terminated = false;
    if (!has_unsized_body(q)) {
        return 0;
    }
    if (server_is(q, "Apache")) {
        q->input_terminated = true;
        return 0;
    }
    request_log(q, LOG_LEVEL_INFO,
                "411: a body without a length, the end of which this web "
                "server does not tell a CGI script");
    response_error(q, "411 Length Required",
                   "This server takes no request bodies without a length.",
                   NULL);
    return -EBADMSG;
}

/* A body that reaches the application is decoded, whether or not its length is
 * known; dulwich takes the header for a sign that it is not. */
static int
prepare_body(struct request *q)
{
    static const char name[] = "HTTP_TRANSFER_ENCODING";
    int r = check_framing(q);
    struct param *coding = params_find(&q->params, name, strlen(name),
                                       hash_bytes(name, strlen(name)));

    q->is_unsized = (coding != NULL || q->params.is_unsized) &&
                    q->content_length < 0 && q->input_terminated &&
                    q->role == ROLE_RESPONDER;
    if (coding != NULL) {
        coding->value = NULL;
    }
    return r;
}

/* -- refusals ------------------------------------------------------------- */

/* Both lines tell about the configuration, so one a minute is enough. */
enum { SAME_LINE_MS = 60000 };

static void
refuse_method(struct request *q)
{
    static _Atomic(int64_t) due_ms;

    if (clock_is_due(&due_ms, SAME_LINE_MS)) {
        request_log(q, LOG_LEVEL_INFO,
                    "400: the web server sent no REQUEST_METHOD: is its list "
                    "of parameters missing (nginx: include fastcgi_params)?");
    }
    response_error(q, "400 Bad Request",
                   "The web server sent no REQUEST_METHOD.", NULL);
}

static void
refuse_path(struct request *q)
{
    static _Atomic(int64_t) due_ms;
    const struct param *script = params_get(&q->params, "SCRIPT_NAME");
    const struct param *info = params_get(&q->params, "PATH_INFO");
    struct param none = {.value = "", .value_len = 0};
    const char *mount = q->config->mount;

    script = script == NULL ? &none : script;
    info = info == NULL ? &none : info;
    if (clock_is_due(&due_ms, SAME_LINE_MS)) {
        request_log(q, LOG_LEVEL_INFO,
                    "404: the path \"%.*s\" + \"%.*s\" (SCRIPT_NAME and "
                    "PATH_INFO) %s%s: --doctor shows what the web server "
                    "sends; this line comes at most once a minute",
                    (int)script->value_len, script->value, (int)info->value_len,
                    info->value,
                    mount != NULL ? "is outside --mount "
                                  : "is cut in the middle of a name",
                    mount == NULL      ? ""
                    : mount[0] == '\0' ? "/"
                                       : mount);
    }
    response_error(q, "404 Not Found", "There is no application at this path.",
                   NULL);
}

/* "... than this server takes (at most 1 MiB)." */
static void
refuse_large(struct request *q, const char *status, const char *sentence,
             const char *most)
{
    char text[160];

    assert(sentence[0] != '\0');
    (void)snprintf(text, sizeof text, "%.*s (at most %s).",
                   (int)strlen(sentence) - 1, sentence, most);
    response_error(q, status, text, NULL);
}

static void
refuse_large_body(struct request *q, const struct request_answer *answer)
{
    char size[NUM_SIZE_TEXT_SIZE];

    if (q->config->limit_body == 0) {
        request_log(q, LOG_LEVEL_INFO,
                    "413: a body without a length is too large; --limit-body "
                    "SIZE allows more");
        response_error(q, answer->status, answer->sentence, NULL);
        return;
    }
    num_size_text(q->config->limit_body, size);
    if (q->content_length >= 0) {
        request_log(q, LOG_LEVEL_INFO,
                    "413: the body of %lld bytes is larger than --limit-body "
                    "(%s)",
                    (long long)q->content_length, size);
    }
    else {
        request_log(q, LOG_LEVEL_INFO,
                    "413: the body is larger than --limit-body (%s)", size);
    }
    refuse_large(q, answer->status, answer->sentence, size);
}

void
request_send_answer(struct request *q, const struct request_answer *answer)
{
    if (answer->err == -EMSGSIZE) {
        refuse_large_body(q, answer);
        return;
    }
    if (answer->err == -ETIMEDOUT) {
        request_note_result(q, REQUEST_CLIENT_GONE); /* it may still read */
    }
    request_log(q, LOG_LEVEL_INFO, "%s", answer->sentence);
    response_error(q, answer->status, answer->sentence, NULL);
}

int
request_prepare(struct request *q)
{
    int r = params_correct(&q->params, q->config);

    request_id_take(q);
    q->response.is_head = params_is(&q->params, "REQUEST_METHOD", "HEAD");
    response_reset(&q->response);
    if (r == -ENOENT && !q->is_cgi &&
        params_is_status_path(&q->params, q->config)) {
        r = 0; /* these paths are the site's, wherever the application is */
    }
    q->corrected = r;
    if (q->config->doctor && r != -ENOMEM) {
        r = 0;
    }
    switch (r) {
    case 0:
        break;
    case -EBADMSG:
        refuse_method(q);
        return -EBADMSG;
    case -ENOENT:
        refuse_path(q);
        return -EBADMSG;
    default:
        response_error(q, "500 Internal Server Error", "Out of memory.",
                       request_id(q));
        return -EBADMSG;
    }
    q->content_length = params_length(&q->params, "CONTENT_LENGTH");
    q->data_length = params_length(&q->params, "FCGI_DATA_LENGTH");
    if (q->config->limit_body > 0 && q->content_length > 0 &&
        (uint64_t)q->content_length > q->config->limit_body) {
        request_send_answer(q, request_read_answer(-EMSGSIZE));
        return -EBADMSG;
    }
    return prepare_body(q);
}

void
request_refuse(struct request *q, enum params_fault fault)
{
    const struct params_refusal *refusal = params_refusal(fault);
    char most[NUM_SIZE_TEXT_SIZE];

    assert(q->response.state == RESPONSE_NONE);
    q->response.is_head = params_is(&q->params, "REQUEST_METHOD", "HEAD");
    if (fault == PARAMS_TOO_MANY) {
        (void)snprintf(most, sizeof most, "%u", q->config->limit_vars);
    }
    else if (fault == PARAMS_TOO_LARGE) {
        num_size_text(q->config->limit_head, most);
    }
    else {
        request_log(q, LOG_LEVEL_INFO, "%.3s: %s", refusal->status,
                    refusal->reason);
        response_error(q, refusal->status, refusal->sentence, NULL);
        return;
    }
    request_log(q, LOG_LEVEL_INFO, "%.3s: %s (%s)", refusal->status,
                refusal->reason, most);
    refuse_large(q, refusal->status, refusal->sentence, most);
}

/* -- waits for the client -------------------------------------------------- */

/* False: a longer wait has begun before. */
static bool
note_wait(struct request *q, enum client_wait_kind kind)
{
    if (q->wait == NULL || atomic_load(&q->wait->since_ms) != 0) {
        return false;
    }
    atomic_store(&q->wait->kind, kind);
    atomic_store(&q->wait->since_ms, clock_coarse_ms());
    return true;
}

/* First the sum, then the end: who reads meanwhile must not see a shorter
 * wait. */
static void
note_wait_end(struct request *q)
{
    long long since = atomic_load(&q->wait->since_ms);

    assert(since != 0);
    atomic_fetch_add(&q->wait->total_ms, clock_coarse_ms() - since);
    atomic_store(&q->wait->since_ms, 0);
    atomic_store(&q->wait->kind, WAIT_NOT);
}

void
request_wait_begin(struct request *q, enum client_wait_kind kind)
{
    if (q->hooks.enter != NULL) {
        q->hooks.enter(q->hooks.arg);
    }
    q->waits_inside = note_wait(q, kind);
}

void
request_wait_end(struct request *q)
{
    if (q->waits_inside) {
        q->waits_inside = false;
        note_wait_end(q);
    }
    if (q->hooks.leave != NULL) {
        q->hooks.leave(q->hooks.arg);
    }
}

/* -- the body ------------------------------------------------------------- */

static ssize_t
read_stdin(struct request *q, void *to, size_t size)
{
    uint64_t limit = q->config->limit_body;
    ssize_t n;

    if (q->content_length >= 0) {
        assert(q->body_read <= (uint64_t)q->content_length);
        uint64_t left = (uint64_t)q->content_length - q->body_read;
        if (left == 0) {
            q->body_eof = true;
            return 0;
        }
        if (size > left) {
            size = (size_t)left;
        }
    }
    else if (!q->input_terminated) {
        /* RFC 3875, 4.2: without a length there is no body; stdin may be a
         * terminal or a socket that never ends. */
        q->body_eof = true;
        return 0;
    }
    n = q->transport->read(q, STREAM_STDIN, to, size);
    if (n == 0 && q->content_length >= 0) {
        return -ENODATA; /* FastCGI, 6.2: shorter than CONTENT_LENGTH */
    }
    if (n == 0) {
        q->body_eof = true;
    }
    if (n > 0) {
        q->body_read += (uint64_t)n;
        if (limit > 0 && q->body_read > limit) {
            return -EMSGSIZE;
        }
    }
    return n;
}

/* FastCGI, 6.4: a Filter compares what came with FCGI_DATA_LENGTH. */
static ssize_t
read_data(struct request *q, void *to, size_t size)
{
    ssize_t n = q->transport->read(q, STREAM_DATA, to, size);

    if (n > 0) {
        q->data_read += (uint64_t)n;
    }
    if (n == 0 && q->data_length > (int64_t)q->data_read) {
        return -ENODATA;
    }
    return n;
}

ssize_t
request_read(struct request *q, enum request_stream s, void *to, size_t size)
{
    ssize_t n;

    if (q->body_error != 0) {
        return q->body_error;
    }
    if (size == 0) {
        return 0;
    }
    if (s == STREAM_DATA) {
        n = q->role == ROLE_FILTER ? read_data(q, to, size) : 0;
    }
    else {
        n = q->body_eof ? 0 : read_stdin(q, to, size);
    }
    if (n < 0) {
        q->body_error = (int)n;
    }
    return n;
}

static void
refuse_body(struct request *q, int err)
{
    const struct request_answer *answer = request_read_answer(err);

    q->body_error = err;
    if (answer != NULL) {
        request_send_answer(q, answer);
    }
    else if (err == -EPIPE || err == -ECONNRESET || err == -ECONNABORTED) {
        request_log(q, LOG_LEVEL_INFO, "%s", request_read_strerror(err));
        response_client_gone(q);
    }
    else if (err == -ECANCELED) {
        request_log(q, LOG_LEVEL_ERROR, "ended by --request-timeout");
        response_error(q, REQUEST_TIMEOUT_STATUS, REQUEST_TIMEOUT_SENTENCE,
                       request_id(q));
    }
    else {
        request_log(q, LOG_LEVEL_ERROR,
                    "a body of unknown length was not received: %s",
                    request_read_strerror(err));
        response_error(q, "500 Internal Server Error",
                       "The request's body could not be received.",
                       request_id(q));
    }
}

/* Frameworks read CONTENT_LENGTH bytes, none where it is missing. So the body
 * of a chunked upload is measured before they see it. They never see one that
 * was cut short, as behind a web server that buffers. */
int
request_take_body(struct request *q)
{
    int64_t n;

    assert(q->body_read == 0 && q->content_length < 0);
    bool is_noted = note_wait(q, WAIT_RECEIVING);
    n = q->transport->take_body(q);
    if (is_noted) {
        note_wait_end(q);
    }

    if (n >= 0) {
        int r = params_set_length(&q->params, (uint64_t)n);
        n = r < 0 ? r : n;
    }
    if (n < 0) {
        refuse_body(q, (int)n);
        return -EBADMSG;
    }
    q->content_length = n;
    return 0;
}

const struct request_answer *
request_read_answer(int err)
{
    static const struct request_answer answers[] = {
        {-EMSGSIZE, "413 Content Too Large",
         "The request's body is larger than this server takes."},
        {-ETIMEDOUT, "408 Request Timeout",
         "The request's body did not arrive in time."},
        {-ENODATA, "400 Bad Request",
         "The request's body is shorter than its Content-Length."},
    };

    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        if (answers[i].err == err) {
            return &answers[i];
        }
    }
    return NULL;
}

const char *
request_read_strerror(int err)
{
    switch (err) {
    case -ECONNABORTED:
        return "the web server aborted the request";
    case -EPIPE:
    case -ECONNRESET:
        return "the client went away before the request's whole body had "
               "arrived";
    case -ENODATA:
        return "the body is shorter than CONTENT_LENGTH";
    case -ETIMEDOUT:
        return "no byte of the body arrived within --body-timeout";
    case -EMSGSIZE:
        return "the body is larger than --limit-body";
    default:
        return strerror(-err);
    }
}

bool
request_peer_gone(struct request *q)
{
    return q->transport->peer_gone(q);
}

/* -- the log -------------------------------------------------------------- */

/* How many of the bytes went to the web server's log. */
static size_t
tell_server(struct request *q, const char *lines, size_t n)
{
    return request_tells_server(q) && q->transport->errors != NULL &&
                   pthread_equal(q->owner, pthread_self())
               ? q->transport->errors(q, lines, n)
               : 0;
}

/* The reader of fd 2 may be slow: calls the hooks around a write to it. */
static void
hook(const struct request *q, void (*fn)(void *arg))
{
    if (fn != NULL && pthread_equal(q->owner, pthread_self())) {
        fn(q->hooks.arg);
    }
}

void
request_errors(struct request *q, const char *lines, size_t n)
{
    size_t told = tell_server(q, lines, n);

    if (told < n) {
        hook(q, q->hooks.enter);
        log_output(log_is_own() ? request_id(q) : NULL, lines + told, n - told);
        hook(q, q->hooks.leave);
    }
}

/* The web server's log gets text even if ours is JSON: servers put words of
 * their own around each line. */
static bool
send_entry(struct request *q, const struct log_entry *e)
{
    struct buf line;
    size_t told = 0;

    if (!request_tells_server(q) || q->transport->errors == NULL) {
        return false;
    }
    buf_init(&line, LOG_LINE_MAX);
    if (log_format(&line, LOG_PLAIN, e) == 0) {
        told = tell_server(q, line.data, line.len);
        if (told < line.len && log_is_own()) {
            told = 0; /* all of it there, in its form */
        }
        else if (told > 0 && told < line.len) {
            log_output(NULL, line.data + told, line.len - told);
        }
    }
    buf_fini(&line);
    return told > 0;
}

static void log_lines(struct request *q, enum log_level level, const char *more,
                      size_t more_len, const char *fmt, va_list ap)
    PRINTF_LIKE(5, 0);

static void
log_lines(struct request *q, enum log_level level, const char *more,
          size_t more_len, const char *fmt, va_list ap)
{
    char shown[200], text[1024];
    struct log_entry e = {.level = level,
                          .id = request_id(q),
                          .request = shown,
                          .text = text,
                          .more = more,
                          .more_len = more_len};

    if (!log_wants(level)) {
        return;
    }
    (void)vsnprintf(text, sizeof text, fmt, ap);
    request_line(q, shown, sizeof shown);
    if (!send_entry(q, &e)) {
        hook(q, q->hooks.enter);
        log_entry(&e);
        hook(q, q->hooks.leave);
    }
}

void
request_log(struct request *q, enum log_level level, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_lines(q, level, NULL, 0, fmt, ap);
    va_end(ap);
}

void
request_log_more(struct request *q, enum log_level level, const char *more,
                 size_t more_len, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_lines(q, level, more, more_len, fmt, ap);
    va_end(ap);
}

/* Bytes that could forge a log line or upset a terminal become "?". */
static size_t
add_safe(char *to, size_t at, size_t size, const struct param *e)
{
    for (size_t i = 0; e != NULL && i < e->value_len && at + 1 < size; i++) {
        unsigned char c = (unsigned char)e->value[i];
        to[at++] = (char)(c < 0x20 || c == 0x7f ? '?' : c);
    }
    return at;
}

void
request_line(const struct request *q, char *to, size_t size)
{
    if (q->line[0] != '\0') {
        (void)snprintf(to, size, "%s", q->line);
        return;
    }
    const struct param *uri = params_get(&q->params, "REQUEST_URI");
    size_t n = add_safe(to, 0, size, params_get(&q->params, "REQUEST_METHOD"));

    if (n + 1 < size) {
        to[n++] = ' ';
    }
    if (uri != NULL) {
        n = add_safe(to, n, size, uri);
    }
    else {
        n = add_safe(to, n, size, params_get(&q->params, "SCRIPT_NAME"));
        n = add_safe(to, n, size, params_get(&q->params, "PATH_INFO"));
    }
    to[n] = '\0';
}

void
request_detach(struct request *q)
{
    char line[sizeof q->line];

    request_line(q, line, sizeof line);
    memcpy(q->line, line, sizeof line);
    (void)request_id(q); /* the id may be one of the variables */
    q->errors_to_server = 0;
    params_clear(&q->params); /* they are borrowed */
}
