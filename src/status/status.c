#include "status/status.h"

#include "gateway/path.h"
#include "gateway/response.h"
#include "status/status_snapshot.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Enough for the requests of some thousand threads as JSON. */
enum { PAGE_MAX = 16 << 20 };

const struct status_header status_headers[] = {
    {"Cache-Control", "no-store"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Content-Security-Policy",
     "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"},
};
const size_t status_nheaders = ARRAY_SIZE(status_headers);

/* -- which page ------------------------------------------------------------ */

static bool
is_ping(const struct config *config, const struct params *p)
{
    return config->ping_path != NULL && params_path_is(p, config->ping_path);
}

bool
status_is_wanted(const struct config *config, const struct request *q)
{
    return params_is_status_path(&q->params, config);
}

/* -- the page -------------------------------------------------------------- */

static bool
has_word(const struct param *query, const char *word)
{
    return query != NULL &&
           path_query_has(query->value, query->value_len, word);
}

int
status_page(const struct status_source *from, unsigned own,
            const struct param *query, struct buf *out, const char **ret_type)
{
    static const struct {
        const char *word, *type;
        void (*write)(struct text_writer *, const struct status_snapshot *);
    } forms[] = {
        {"json", "application/json", status_json},
        {"openmetrics",
         "application/openmetrics-text; version=1.0.0; charset=utf-8",
         status_metrics},
        {"text", "text/plain; charset=utf-8", status_text},
        {"", "text/html; charset=utf-8", status_html},
    };
    struct text_writer w = {.out = out};
    struct status_snapshot shot;
    size_t i = 0;

    while (forms[i].word[0] != '\0' && !has_word(query, forms[i].word)) {
        i++;
    }
    status_snapshot_take(&shot, from, has_word(query, "full"));
    shot.own = own;
    forms[i].write(&w, &shot);
    *ret_type = forms[i].type;
    assert(w.err <= 0);
    return w.err;
}

/* -- the reply ------------------------------------------------------------- */

int
status_reply_make(struct status_reply *r, const struct status_source *from,
                  unsigned own, const struct params *p, bool ping)
{
    *r = (struct status_reply){.status = "200 OK", .type = "text/plain"};
    buf_init(&r->body, PAGE_MAX);
    if (!params_is(p, "REQUEST_METHOD", "GET") &&
        !params_is(p, "REQUEST_METHOD", "HEAD")) {
        r->status = "405 Method Not Allowed";
        r->allow = "GET, HEAD";
        return buf_add_str(&r->body, "This page takes only GET and HEAD.\n");
    }
    if (ping) {
        return buf_add_str(&r->body, "pong");
    }
    return status_page(from, own, params_get(p, "QUERY_STRING"), &r->body,
                       &r->type);
}

int
status_reply_refuse(struct status_reply *r, enum params_fault fault)
{
    const struct params_refusal *refusal = params_refusal(fault);

    *r = (struct status_reply){.status = refusal->status, .type = "text/plain"};
    buf_init(&r->body, PAGE_MAX);
    return buf_printf(&r->body, "%s\n", refusal->sentence);
}

void
status_reply_fini(struct status_reply *r)
{
    buf_fini(&r->body);
}

static int
set_head(struct response *to, const struct status_reply *r)
{
    char length[24];
    int n = snprintf(length, sizeof length, "%zu", r->body.len);
    assert(n > 0 && n < (int)sizeof length);
    int e = response_set_status(to, r->status, strlen(r->status));

    if (e == 0) {
        /* Also for HEAD: the sender leaves the body out. */
        e = response_add_header(to, "Content-Length", 14, length, (size_t)n);
    }
    if (e == 0) {
        e = response_add_header(to, "Content-Type", 12, r->type,
                                strlen(r->type));
    }
    if (e == 0 && r->allow != NULL) {
        e = response_add_header(to, "Allow", 5, r->allow, strlen(r->allow));
    }
    for (size_t i = 0; e == 0 && i < status_nheaders; i++) {
        const struct status_header *h = &status_headers[i];
        e = response_add_header(to, h->name, strlen(h->name), h->value,
                                strlen(h->value));
    }
    return e;
}

void
status_answer(const struct status_source *from, struct request *q)
{
    struct status_reply r;
    int e = status_reply_make(&r, from, 1, &q->params,
                              is_ping(from->config, &q->params));

    if (e != 0 || set_head(&q->response, &r) != 0) {
        response_reset(&q->response);
        response_error(q, "500 Internal Server Error", "Out of memory.",
                       request_id(q));
    }
    else {
        const struct iovec body = {r.body.data, r.body.len};
        if (response_write_all(q, &body, 1) < 0) {
            response_client_gone(q);
        }
    }
    status_reply_fini(&r);
}
