#include "doctor/doctor.h"

#include "doctor/doctor_advice.h"
#include "doctor/doctor_page.h"
#include "gateway/response.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    PAGE_MAX = 4 << 20,
    VARIABLES_MAX = 500, /* shown of each list */
    BODY_MAX = 1 << 30,  /* read of a body */
    PIECE = 64 << 10
};

#define ASKED_COOKIE "wsgi-cgi-doctor=asked"

/* One request, and the page that answers it. */
struct visit {
    const struct doctor_facts *facts;
    struct request *q;
    struct doctor_case c;
    struct doctor_page page;
    bool wants_auth; /* ?auth */
    bool ask;        /* the answer is 401 */
    bool has_body;
    uint64_t body; /* bytes that arrived */
};

static struct path_part
final(const struct visit *v, const char *name)
{
    const struct param *e = params_get(&v->q->params, name);
    return e == NULL ? (struct path_part){NULL, 0}
                     : (struct path_part){e->value, e->value_len};
}

static bool
is_at(struct path_part text, const char *word)
{
    return text.s != NULL && memmem(text.s, text.n, word, strlen(word)) != NULL;
}

/* -- values ---------------------------------------------------------------- */

/* A password in a URL, as in DATABASE_URL: some servers pass their whole
 * environment to a CGI program. */
static bool
has_password(const struct param *e)
{
    struct path_part v = {e->value, e->value_len};
    return is_at(v, "://") && is_at(v, "@");
}

/* The scheme and the length are enough to see that a password arrives. */
static void
add_hidden(struct visit *v, const struct param *e)
{
    static const char word_chars[] = "abcdefghijklmnopqrstuvwxyz"
                                     "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    struct path_part name = {e->name, e->name_len};
    size_t n = e->value_len, scheme = 0;

    while (scheme < n && scheme < 16 && e->value[scheme] != '\0' &&
           strchr(word_chars, e->value[scheme]) != NULL) {
        scheme++;
    }
    if ((is_at(name, "AUTHORIZATION") || is_at(name, "Authorization")) &&
        scheme > 0 && scheme < n && e->value[scheme] == ' ') {
        doctor_page_bytes(&v->page, e->value, scheme);
        text_writer_printf(&v->page.writer, " and %zu bytes, not shown",
                           n - scheme - 1);
        return;
    }
    text_writer_printf(&v->page.writer, "%zu bytes, not shown", n);
}

static void
add_value(struct visit *v, const struct param *e)
{
    if (e->value_len > 0 && (params_is_secret(e) || has_password(e))) {
        add_hidden(v, e);
    }
    else if (e->value_len == 0) {
        doctor_page_words(&v->page, "(empty)");
    }
    else {
        doctor_page_bytes(&v->page, e->value, e->value_len);
    }
}

/* -- what became of a variable --------------------------------------------- */

static bool
name_is(const struct param *e, const char *name)
{
    return e->name_len == strlen(name) &&
           memcmp(e->name, name, e->name_len) == 0;
}

/* --set overrides what the server sends. */
static bool
is_set_by_us(const struct visit *v, const struct param *e)
{
    const struct config_list *set = &v->q->config->set;

    for (size_t i = 0; i < set->n; i++) {
        size_t n = strcspn(set->v[i], "=");
        if (n == e->name_len && memcmp(set->v[i], e->name, n) == 0) {
            return true;
        }
    }
    return false;
}

static const char *
why_dropped(const struct param *e)
{
    static const char *const why[][2] = {
        {"HTTP_PROXY", "left out: libraries would use it as their proxy"},
        {"HTTP_CONTENT_LENGTH", "left out: CONTENT_LENGTH has it"},
        {"HTTP_CONTENT_TYPE", "left out: CONTENT_TYPE has it"},
        {"CONTENT_LENGTH", "left out: not a number"},
        {"HTTP_TRANSFER_ENCODING", "left out: the server has decoded the body"},
        {"Authorization", "left out: HTTP_AUTHORIZATION has it"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(why); i++) {
        if (name_is(e, why[i][0])) {
            return why[i][1];
        }
    }
    return "left out: empty";
}

static const char *
why_changed(const struct visit *v, const struct param *e)
{
    if (is_set_by_us(v, e)) {
        return "--set gives another value";
    }
    if (name_is(e, "SCRIPT_NAME") || name_is(e, "PATH_INFO")) {
        return v->c.rewrite == REWRITE_UNDONE
                   ? "the requested path below --mount"
               : v->q->config->mount != NULL
                   ? "split again at --mount, see above"
                   : "split again, see above";
    }
    if (name_is(e, "SERVER_NAME")) {
        return "without the port, or taken from Host; see above";
    }
    return "empty: taken from another variable, see above";
}

static const char *
why_added(const struct param *e)
{
    return name_is(e, "HTTP_AUTHORIZATION")
               ? "from REDIRECT_HTTP_AUTHORIZATION or Authorization"
               : "PEP 3333 requires it";
}

/* What became of e, the nth of so many values with this name; NULL: nothing. */
static const char *
fate(const struct visit *v, const struct param *e, uint32_t times, uint32_t nth)
{
    assert(nth >= 1 && nth <= times);
    const struct param *now = &v->q->params.v[e->room - 1];

    if (v->q->corrected == -EBADMSG) {
        return NULL; /* nothing was corrected */
    }
    if (now->value == NULL) {
        return why_dropped(e);
    }
    if (times > 1 && now->room > 0) {
        return nth < times ? "joined with the next" : "joined with the others";
    }
    if (times > 1 && nth < times) {
        return "sent again below; the last value counts";
    }
    if (now->value_len != e->value_len ||
        memcmp(now->value, e->value, e->value_len) != 0) {
        return why_changed(v, e);
    }
    return NULL;
}

/* times and nth: one counter for each of params.v, all zero. Counts in times
 * how often each was sent. */
static void
add_sent(struct visit *v, uint32_t *times, uint32_t *nth)
{
    const struct params *p = &v->q->params;

    for (size_t i = 0; i < p->nraw; i++) {
        assert(p->raw[i].room >= 1 && p->raw[i].room <= p->n);
        times[p->raw[i].room - 1]++;
    }
    doctor_page_heading(&v->page, "What the server sent, in order");
    doctor_page_table(&v->page);
    for (size_t i = 0; i < p->nraw && i < VARIABLES_MAX; i++) {
        const struct param *e = &p->raw[i];
        uint32_t at = e->room - 1;
        nth[at]++;
        doctor_page_row(&v->page, e->name, e->name_len);
        add_value(v, e);
        doctor_page_row_end(&v->page, fate(v, e, times[at], nth[at]));
    }
    doctor_page_table_end(&v->page);
    if (p->nraw > VARIABLES_MAX) {
        doctor_page_paragraph(&v->page, "More variables are not shown.");
    }
}

/* What the application gets although the server has not sent it. */
static void
add_added(struct visit *v, const uint32_t *times)
{
    const struct params *p = &v->q->params;
    size_t shown = 0;

    doctor_page_heading(&v->page, "What was added");
    doctor_page_table(&v->page);
    for (size_t i = 0; i < p->n && shown < VARIABLES_MAX; i++) {
        const struct param *e = &p->v[i];
        if (times[i] > 0 || e->value == NULL) {
            continue;
        }
        bool ours = is_set_by_us(v, e);
        doctor_page_row(&v->page, e->name, e->name_len);
        if (ours) {
            doctor_page_words(&v->page, "(not shown)");
        }
        else {
            add_value(v, e);
        }
        doctor_page_row_end(&v->page, ours ? "by --set" : why_added(e));
        shown++;
    }
    doctor_page_table_end(&v->page);
    if (shown == 0) {
        doctor_page_paragraph(&v->page, "Nothing.");
    }
}

static void
add_variables(struct visit *v)
{
    size_t n = v->q->params.n + 1;
    uint32_t *counts = calloc(2 * n, sizeof *counts);

    if (counts == NULL) {
        v->page.writer.err = -ENOMEM;
        return;
    }
    add_sent(v, counts, counts + n);
    add_added(v, counts);
    free(counts);
}

/* -- URLs ------------------------------------------------------------------ */

/* Quotes a path as the URL reconstruction of PEP 3333 does. */
static void
add_quoted(struct buf *to, struct path_part part, int *err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-~/;=,";

    for (size_t i = 0; *err == 0 && i < part.n; i++) {
        char c = part.s[i];
        *err = c != '\0' && strchr(plain, c) != NULL
                   ? buf_add(to, &c, 1)
                   : buf_printf(to, "%%%02X", (unsigned char)c);
    }
}

static void
add_part(struct buf *to, struct path_part part, int *err)
{
    if (*err == 0 && part.n > 0) {
        *err = buf_add(to, part.s, part.n);
    }
}

static void
add_word(struct buf *to, const char *word, int *err)
{
    add_part(to, (struct path_part){word, strlen(word)}, err);
}

/* The URL that the application would build: PEP 3333, URL Reconstruction. */
static int
reconstruct(const struct visit *v, struct buf *to)
{
    bool https = params_is_https(&v->q->params);
    struct path_part host = final(v, "HTTP_HOST"), query, port;
    int err = 0;

    add_word(to, https ? "https://" : "http://", &err);
    if (host.n > 0) {
        add_part(to, host, &err);
    }
    else {
        port = final(v, "SERVER_PORT");
        add_part(to, final(v, "SERVER_NAME"), &err);
        if (port.n != (https ? 3 : 2) ||
            memcmp(port.s, https ? "443" : "80", port.n) != 0) {
            add_word(to, ":", &err);
            add_part(to, port, &err);
        }
    }
    add_quoted(to, final(v, "SCRIPT_NAME"), &err);
    add_quoted(to, final(v, "PATH_INFO"), &err);
    query = final(v, "QUERY_STRING");
    if (query.n > 0) {
        add_word(to, "?", &err);
        add_part(to, query, &err);
    }
    return err;
}

/* The URL that the client requested, as far as the server sent it. */
static int
requested(const struct visit *v, struct buf *to)
{
    const struct params *p = &v->q->params;
    struct path_part uri = doctor_raw(p, "REQUEST_URI", NULL);
    struct path_part host = doctor_raw(p, "HTTP_HOST", NULL);
    int err = 0;

    if (uri.s == NULL) {
        add_word(to, "(REQUEST_URI was not sent)", &err);
        return err;
    }
    if (uri.n > 0 && uri.s[0] == '/') { /* else it is absolute */
        add_word(to, params_is_https(p) ? "https://" : "http://", &err);
        if (host.n == 0) {
            add_word(to, "(no Host)", &err);
        }
        add_part(to, host, &err);
    }
    add_part(to, uri, &err);
    return err;
}

/* The path in "/path?query" or "http://host/path?query". */
static struct path_part
path_of(struct path_part uri)
{
    uri = path_without_query(uri);
    const char *host =
        uri.n > 0 && uri.s[0] != '/' ? memmem(uri.s, uri.n, "://", 3) : NULL;
    if (host != NULL) {
        uri.n -= (size_t)(host + 3 - uri.s);
        uri.s = host + 3;
        const char *slash = memchr(uri.s, '/', uri.n);
        size_t skip = slash == NULL ? uri.n : (size_t)(slash - uri.s);
        uri.s += skip;
        uri.n -= skip;
    }
    return uri;
}

/* Compares the two paths with their percent signs decoded. */
static const char *
compare(const struct visit *v)
{
    struct path_part uri = doctor_raw(&v->q->params, "REQUEST_URI", NULL);
    struct buf joined;
    int err = 0;

    if (uri.s == NULL) {
        return NULL;
    }
    buf_init(&joined, PAGE_MAX);
    add_part(&joined, final(v, "SCRIPT_NAME"), &err);
    add_part(&joined, final(v, "PATH_INFO"), &err);
    struct path_part path = {joined.data, joined.len};
    bool same = err == 0 && path_equals_decoded(path_of(uri), path);
    buf_fini(&joined);
    return same ? "the same path"
                : "another path: the server has normalized or rewritten it";
}

static void
add_url(struct visit *v, const char *name,
        int (*make)(const struct visit *, struct buf *), const char *note)
{
    struct buf url;

    buf_init(&url, PAGE_MAX);
    int err = make(v, &url);
    doctor_page_row(&v->page, name, strlen(name));
    if (err == 0) {
        doctor_page_bytes(&v->page, url.data, url.len);
    }
    doctor_page_row_end(&v->page, note);
    buf_fini(&url);
}

/* -- what the application gets --------------------------------------------- */

static void
add_final(struct visit *v, const char *name, const char *note)
{
    const struct param *e = params_get(&v->q->params, name);

    doctor_page_row(&v->page, name, strlen(name));
    if (e == NULL) {
        doctor_page_words(&v->page, "(absent)");
    }
    else {
        add_value(v, e);
    }
    doctor_page_row_end(&v->page, note);
}

static void
add_word_row(struct visit *v, const char *name, const char *value,
             const char *note)
{
    doctor_page_row(&v->page, name, strlen(name));
    doctor_page_words(&v->page, value);
    doctor_page_row_end(&v->page, note);
}

static void
add_environ(struct visit *v)
{
    doctor_page_heading(&v->page, "The URL and what the application gets");
    doctor_page_table(&v->page);
    add_url(v, "requested", requested, "from REQUEST_URI and Host");
    add_url(v, "PEP 3333 gives", reconstruct, compare(v));
    add_final(v, "SCRIPT_NAME",
              "where the application is mounted; empty at the root");
    add_final(v, "PATH_INFO",
              "the rest, decoded; empty or beginning with a slash");
    add_final(v, "QUERY_STRING", "after the question mark, as it was sent");
    add_word_row(v, "wsgi.url_scheme",
                 params_is_https(&v->q->params) ? "https" : "http",
                 "https if HTTPS is on, 1 or yes; else REQUEST_SCHEME");
    add_final(v, "SERVER_NAME", "never empty, has no port");
    add_final(v, "SERVER_PORT", "never empty");
    add_final(v, "SERVER_PROTOCOL", NULL);
    add_final(v, "HTTP_AUTHORIZATION",
              "absent if the client sent none or the server withholds it");
    add_final(v, "CONTENT_LENGTH", "absent if not known");
    add_word_row(v, "wsgi.input_terminated",
                 v->q->input_terminated ? "True" : "False",
                 "True: wsgi.input ends with the body");
    doctor_page_table_end(&v->page);
}

/* -- the body -------------------------------------------------------------- */

/* Reads all of it: the page says whether it arrived. */
static void
read_body(struct visit *v)
{
    char *piece = malloc(PIECE);
    ssize_t n = piece == NULL ? -ENOMEM : 1;

    v->has_body = v->q->content_length > 0 ||
                  params_is(&v->q->params, "REQUEST_METHOD", "POST");
    while (n > 0 && v->body < BODY_MAX) {
        n = request_read(v->q, STREAM_STDIN, piece, PIECE);
        assert(n <= PIECE);
        v->body += n > 0 ? (uint64_t)n : 0;
    }
    v->has_body |= v->body > 0;
    v->c.body_error = n < 0 ? (int)n : 0;
    free(piece);
}

static void
add_body(struct visit *v)
{
    char text[64];

    if (!v->has_body && v->c.body_error == 0) {
        return;
    }
    doctor_page_heading(&v->page, "Body");
    doctor_page_table(&v->page);
    (void)snprintf(text, sizeof text, "%llu bytes",
                   (unsigned long long)v->body);
    add_word_row(v, "arrived", text,
                 v->c.body_error != 0  ? request_read_strerror(v->c.body_error)
                 : v->body >= BODY_MAX ? "the rest was not read"
                 : v->q->content_length >= 0 ? "as many as CONTENT_LENGTH says"
                                             : "to the end of the stream");
    add_final(v, "CONTENT_LENGTH", NULL);
    add_final(v, "CONTENT_TYPE", NULL);
    doctor_page_table_end(&v->page);
}

/* -- the process ----------------------------------------------------------- */

static void
add_process(struct visit *v)
{
    const struct doctor_facts *f = v->facts;
    const struct config *c = v->q->config;
    static const char *const fds[] = {"descriptor 0", "descriptor 1",
                                      "descriptor 2"};

    doctor_page_heading(&v->page, "Process");
    doctor_page_table(&v->page);
    add_word_row(v, "web server", doctor_server_name(v->c.server),
                 "from SERVER_SOFTWARE and the other variables");
    add_word_row(v, "mode", f->mode, f->why);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        add_word_row(v, fds[i], f->fd[i], "at the start");
    }
    add_word_row(v, "--mount",
                 c->mount == NULL      ? "(not given)"
                 : c->mount[0] == '\0' ? "/"
                                       : c->mount,
                 NULL);
    if (f->warm != NULL) {
        add_word_row(v, "warm", f->warm, "--keep-warm, without --doctor");
    }
    add_word_row(v, "Python", f->python, NULL);
    add_word_row(v, "sys.executable", f->executable,
                 c->venv != NULL ? "from --venv" : NULL);
    add_word_row(v, "does it start?", f->python_status == 0 ? "yes" : "no",
                 f->python_said[0] != '\0' ? f->python_said : NULL);
    doctor_page_table_end(&v->page);
}

/* -- the page -------------------------------------------------------------- */

static void
write_page(struct visit *v)
{
    struct finding findings[FINDINGS_MAX];
    size_t n = doctor_findings(&v->c, findings), wrong = 0;
    char title[64] = "Nothing to change";

    assert(n <= FINDINGS_MAX);
    while (wrong < n && findings[wrong].level == FINDING_CHANGE) {
        wrong++;
    }
    if (wrong > 0) {
        (void)snprintf(title, sizeof title, "%zu thing%s to change", wrong,
                       wrong == 1 ? "" : "s");
    }
    doctor_page_begin(&v->page, title, wrong == 0);
    doctor_page_heading(&v->page, "What to look at");
    for (size_t i = 0; i < n; i++) {
        doctor_page_finding(&v->page, &findings[i]);
    }
    add_body(v);
    add_environ(v);
    doctor_page_heading(&v->page, "Try it");
    doctor_page_tests(&v->page);
    add_variables(v);
    add_process(v);
    doctor_page_end(&v->page);
}

static int
add_header(struct request *q, const char *name, const char *value)
{
    return response_add_header(&q->response, name, strlen(name), value,
                               strlen(value));
}

static int
set_head(struct visit *v)
{
    static const char *const headers[][2] = {
        {"Cache-Control", "no-store"},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        {"Content-Security-Policy",
         "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
         "base-uri 'none'; frame-ancestors 'none'"}};
    /* An authorizer must not let anyone in. */
    const char *status = v->ask                          ? "401 Unauthorized"
                         : v->q->role == ROLE_AUTHORIZER ? "403 Forbidden"
                                                         : "200 OK";
    int e = response_set_status(&v->q->response, status, strlen(status));

    assert(!v->ask || v->wants_auth);
    for (size_t i = 0; e == 0 && i < ARRAY_SIZE(headers); i++) {
        e = add_header(v->q, headers[i][0], headers[i][1]);
    }
    if (e == 0) {
        e = add_header(v->q, "Content-Type",
                       v->page.html ? "text/html; charset=utf-8"
                                    : "text/plain; charset=utf-8");
    }
    if (e == 0 && v->ask) {
        e = add_header(v->q, "WWW-Authenticate",
                       "Basic realm=\"wsgi-cgi --doctor\"");
    }
    if (e == 0 && v->wants_auth) {
        e = add_header(v->q, "Set-Cookie",
                       v->ask ? ASKED_COOKIE "; Max-Age=120; HttpOnly; "
                                             "SameSite=Lax"
                              : ASKED_COOKIE "; Max-Age=0");
    }
    return e;
}

/* The page asks for Authorization once. The cookie shows that it has asked: if
 * there is still no Authorization then, the server withholds it. */
static void
look_at_auth(struct visit *v, struct path_part query)
{
    v->wants_auth = path_query_has(query.s, query.n, "auth");
    if (v->wants_auth && final(v, "HTTP_AUTHORIZATION").n == 0) {
        v->c.auth_tried = is_at(final(v, "HTTP_COOKIE"), ASKED_COOKIE);
        v->ask = !v->c.auth_tried;
    }
}

void
doctor_answer(const struct doctor_facts *facts, struct request *q)
{
    struct visit v = {
        .facts = facts,
        .q = q,
        .c = {.q = q,
              .python = facts->python_status == 0 ? NULL : facts->python_said,
              .server = doctor_server_of(q),
              .rewrite = doctor_rewrite_of(q)}};
    struct buf text;

    struct path_part query = final(&v, "QUERY_STRING");
    struct path_part accept = final(&v, "HTTP_ACCEPT");
    v.page.html = !path_query_has(query.s, query.n, "text") &&
                  (!is_at(accept, "text/plain") || is_at(accept, "text/html"));
    look_at_auth(&v, query);
    read_body(&v);
    buf_init(&text, PAGE_MAX);
    v.page.writer.out = &text;
    write_page(&v);
    if (v.page.writer.err != 0 || set_head(&v) != 0) {
        response_reset(&q->response);
        response_error(q, "500 Internal Server Error", "Out of memory.",
                       request_id(q));
    }
    else {
        const struct iovec body = {text.data, text.len};
        if (response_write_all(q, &body, 1) < 0) {
            response_client_gone(q);
        }
    }
    buf_fini(&text);
}
