#include "transport/fcgi_parser.h"

#include <assert.h>
#include <fastcgi.h>
#include <stdio.h>
#include <string.h>

enum { COMPACT_GAP = 64 << 10 };

void
fcgi_header(uint8_t h[FCGI_HEADER], unsigned type, unsigned id, size_t n)
{
    assert(n <= UINT16_MAX && id <= UINT16_MAX);
    h[0] = FCGI_VERSION_1;
    h[1] = (uint8_t)type;
    h[2] = (uint8_t)(id >> 8);
    h[3] = (uint8_t)id;
    h[4] = (uint8_t)(n >> 8);
    h[5] = (uint8_t)n;
    h[6] = 0;
    h[7] = 0;
}

/* One length of a name-value pair (3.4). False if it is cut off. */
static bool
take_length(const uint8_t **p, const uint8_t *end, size_t *ret_n)
{
    const uint8_t *s = *p;

    if (s >= end || (s[0] > 127 && end - s < 4)) {
        return false;
    }
    if (s[0] <= 127) {
        *ret_n = s[0];
        *p = s + 1;
        return true;
    }
    *ret_n = (size_t)(s[0] & 127) << 24 | (size_t)s[1] << 16 |
             (size_t)s[2] << 8 | s[3];
    *p = s + 4;
    return true;
}

bool
fcgi_take_lengths(const uint8_t **p, const uint8_t *end, struct fcgi_pair *ret)
{
    return take_length(p, end, &ret->nname) &&
           take_length(p, end, &ret->nvalue);
}

/* The first c at or after from, or end. at is the result of an earlier search,
 * from a place before from. */
ALWAYS_INLINE const uint8_t *
next_byte(const uint8_t *at, int c, const uint8_t *from, const uint8_t *end)
{
    if (at >= from) {
        return at;
    }
    at = memchr(from, c, (size_t)(end - from));
    return at == NULL ? end : at;
}

/* The fault of a head that has one. */
static enum params_fault
what_is_wrong(const uint8_t *p, const uint8_t *end)
{
    struct fcgi_pair pair;

    while (p < end) {
        if (!fcgi_take_pair(&p, end, &pair)) {
            return PARAMS_BROKEN;
        }
    }
    return PARAMS_BAD_BYTE;
}

/* Searches all pairs at once for both bytes, since they are rare. Lengths can
 * have the same values, so the search begins again after each. */
enum params_fault
fcgi_params_check(const uint8_t *p, size_t n, unsigned max)
{
    const uint8_t *first = p, *end = p + n, *nul = p, *equals = p;
    struct fcgi_pair pair;
    unsigned count = 0;

    for (; p < end; count++) {
        if (!fcgi_take_pair(&p, end, &pair) || pair.nname == 0) {
            return what_is_wrong(first, end);
        }
        nul = next_byte(nul, 0, pair.name, end);
        equals = next_byte(equals, '=', pair.name, end);
        if (nul < p || equals < pair.value) {
            return what_is_wrong(first, end);
        }
    }
    return count > max ? PARAMS_TOO_MANY : PARAMS_OK;
}

static bool
is_header(const struct fcgi_pair *pair)
{
    return params_is_header((const char *)pair->name, pair->nname);
}

static bool
is_well_formed(const struct fcgi_pair *pair)
{
    return pair->nname > 0 && memchr(pair->name, '=', pair->nname) == NULL &&
           memchr(pair->name, 0, pair->nname + pair->nvalue) == NULL;
}

int
fcgi_params_add(struct params *to, const uint8_t *p, size_t n,
                enum params_fault fault, unsigned max)
{
    const uint8_t *end = p + n;
    struct fcgi_pair pair;
    unsigned headers = 0, others = 0;
    int e = 0;

    while (e == 0 && p < end && fcgi_take_pair(&p, end, &pair)) {
        /* A refused request needs enough of them to be recognised in the log.
         * The server's own variables may follow thousands of the client's. */
        if (fault == PARAMS_OK ||
            ((is_header(&pair) ? headers++ : others++) < max &&
             is_well_formed(&pair))) {
            e = params_add(to, (const char *)pair.name, pair.nname,
                           (const char *)pair.value, pair.nvalue);
        }
    }
    return e;
}

/* -- answers -------------------------------------------------------------- */

static enum fcgi_parser_result
end_request(struct buf *reply, unsigned id, unsigned protocol_status, bool keep)
{
    uint8_t r[FCGI_HEADER + 8] = {0};

    fcgi_header(r, FCGI_END_REQUEST, id, 8);
    r[FCGI_HEADER + 4] = (uint8_t)protocol_status;
    if (buf_add(reply, r, sizeof r) < 0 || !keep) {
        return FCGI_PARSER_CLOSE;
    }
    return FCGI_PARSER_MORE;
}

static bool
is_name(const struct fcgi_pair *p, const char *name)
{
    return p->nname == strlen(name) && memcmp(p->name, name, p->nname) == 0;
}

static int
add_value(uint8_t *to, const char *name, unsigned value)
{
    char digits[16];
    int n = snprintf(digits, sizeof digits, "%u", value);
    size_t nname = strlen(name);

    to[0] = (uint8_t)nname;
    to[1] = (uint8_t)n;
    memcpy(to + 2, name, nname);
    memcpy(to + 2 + nname, digits, (size_t)n);
    return 2 + (int)nname + n;
}

/* 4.1: the requested names, each once; unknown ones are left out. */
static enum fcgi_parser_result
get_values(const uint8_t *p, size_t n, struct buf *reply,
           const struct fcgi_limits *limits)
{
    const struct {
        const char *name;
        unsigned value;
    } known[] = {{FCGI_MAX_CONNS, limits->max_conns},
                 {FCGI_MAX_REQS, limits->max_reqs},
                 {FCGI_MPXS_CONNS, 0}};
    bool given[ARRAY_SIZE(known)] = {false};
    uint8_t r[FCGI_HEADER + 128];
    const uint8_t *end = p + n;
    size_t len = FCGI_HEADER;
    struct fcgi_pair pair;

    while (p < end) {
        if (!fcgi_take_pair(&p, end, &pair)) {
            return FCGI_PARSER_CLOSE;
        }
        for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
            if (!given[i] && is_name(&pair, known[i].name)) {
                given[i] = true;
                len +=
                    (size_t)add_value(r + len, known[i].name, known[i].value);
            }
        }
    }
    assert(len <= sizeof r);
    fcgi_header(r, FCGI_GET_VALUES_RESULT, 0, len - FCGI_HEADER);
    return buf_add(reply, r, len) < 0 ? FCGI_PARSER_CLOSE : FCGI_PARSER_MORE;
}

static enum fcgi_parser_result
management(const uint8_t *h, struct buf *reply,
           const struct fcgi_limits *limits)
{
    uint8_t r[FCGI_HEADER + 8] = {0};

    if (h[1] == FCGI_GET_VALUES) {
        return get_values(h + FCGI_HEADER, fcgi_u16(h + 4), reply, limits);
    }
    fcgi_header(r, FCGI_UNKNOWN_TYPE, 0, 8);
    r[FCGI_HEADER] = h[1];
    return buf_add(reply, r, sizeof r) < 0 ? FCGI_PARSER_CLOSE
                                           : FCGI_PARSER_MORE;
}

enum fcgi_parser_result
fcgi_parser_answer(const struct fcgi_parser *g, const uint8_t *record,
                   struct buf *reply, const struct fcgi_limits *limits)
{
    unsigned id = fcgi_u16(record + 2);

    assert(id == 0 || id != g->id);
    if (id == 0) {
        return management(record, reply, limits);
    }
    if (record[1] == FCGI_BEGIN_REQUEST && id != g->id) {
        return end_request(reply, id, FCGI_CANT_MPX_CONN, true);
    }
    return FCGI_PARSER_MORE;
}

/* -- the head of a request ------------------------------------------------ */

void
fcgi_parser_reset(struct fcgi_parser *g, size_t skip, bool body_to_come)
{
    *g = (struct fcgi_parser){.pos = g->pos,
                              .skip = skip,
                              .stale_id = body_to_come ? g->id : 0,
                              .stale_head =
                                  body_to_come && g->fault == PARAMS_TOO_LARGE};
}

void
fcgi_parser_compact(struct fcgi_parser *g, struct buf *in)
{
    size_t rest = in->len - g->pos;

    assert(g->pos <= in->len);
    if (g->id == 0) {
        g->params_len = 0;
    }
    if (g->pos == g->params_len && g->params_at == 0) {
        return;
    }
    if (g->params_len > 0) {
        memmove(in->data, in->data + g->params_at, g->params_len);
    }
    if (rest > 0) {
        memmove(in->data + g->params_len, in->data + g->pos, rest);
    }
    g->params_at = 0;
    g->pos = g->params_len;
    in->len = g->params_len + rest;
}

static enum fcgi_parser_result
begin(struct fcgi_parser *g, const uint8_t *h, struct buf *reply)
{
    unsigned id = fcgi_u16(h + 2), role;

    if (fcgi_u16(h + 4) != 8) {
        return FCGI_PARSER_CLOSE;
    }
    role = fcgi_u16(h + FCGI_HEADER);
    bool keep = (h[FCGI_HEADER + 2] & FCGI_KEEP_CONN) != 0;
    if (role < FCGI_RESPONDER || role > FCGI_FILTER) {
        return end_request(reply, id, FCGI_UNKNOWN_ROLE, keep);
    }
    g->id = (uint16_t)id;
    g->role = (uint8_t)role;
    g->keep = keep;
    g->params_at = g->pos;
    g->params_len = 0;
    return FCGI_PARSER_MORE;
}

/* Appends one PARAMS record's content to the previous ones: it moves down in
 * the input, over the headers between them. */
static enum fcgi_parser_result
params(struct fcgi_parser *g, struct buf *in, size_t at, size_t n,
       const struct fcgi_limits *limits)
{
    bool fits = n <= limits->head - g->params_len;

    assert(g->params_len <= limits->head);
    assert(g->params_at + g->params_len <= at);
    if (n == 0) {
        const uint8_t *p = (const uint8_t *)in->data + g->params_at;
        enum params_fault fault =
            g->params_len > 0
                ? fcgi_params_check(p, g->params_len, limits->vars)
                : PARAMS_BROKEN;
        g->fault = (uint8_t)fault;
        return fault == PARAMS_BROKEN ? FCGI_PARSER_CLOSE : FCGI_PARSER_READY;
    }
    if (!fits) {
        n = limits->head - g->params_len; /* enough to log the request */
        g->fault = PARAMS_TOO_LARGE;
    }
    if (g->params_len == 0) {
        g->params_at = at;
    }
    else {
        memmove(in->data + g->params_at + g->params_len, in->data + at, n);
    }
    g->params_len += n;
    return fits ? FCGI_PARSER_MORE : FCGI_PARSER_READY;
}

/* A record of a request that has ended before its records did, or of none. */
static void
stale_record(struct fcgi_parser *g, const uint8_t *h)
{
    if (fcgi_u16(h + 2) != g->stale_id || fcgi_u16(h + 4) != 0) {
        return;
    }
    if (h[1] == FCGI_PARAMS && g->stale_head) {
        g->stale_head = false;
    }
    else {
        g->stale_id = 0;
    }
}

static enum fcgi_parser_result
record(struct fcgi_parser *g, struct buf *in, size_t at, struct buf *reply,
       const struct fcgi_limits *limits)
{
    const uint8_t *h = (const uint8_t *)in->data + at;
    unsigned id = fcgi_u16(h + 2);

    if (id == 0 || (g->id != 0 && id != g->id)) {
        return fcgi_parser_answer(g, h, reply, limits);
    }
    if (g->id == 0) {
        /* Anything but BEGIN belongs to an earlier request (3.3). */
        if (h[1] != FCGI_BEGIN_REQUEST) {
            stale_record(g, h);
            return FCGI_PARSER_MORE;
        }
        g->stale_id = 0;
        g->stale_head = false;
        return begin(g, h, reply);
    }
    if (h[1] == FCGI_ABORT_REQUEST) {
        bool keep = g->keep;
        g->id = 0;
        g->params_len = 0;
        return end_request(reply, id, FCGI_REQUEST_COMPLETE, keep);
    }
    if (h[1] != FCGI_PARAMS) {
        return FCGI_PARSER_CLOSE;
    }
    return params(g, in, at + FCGI_HEADER, fcgi_u16(h + 4), limits);
}

enum fcgi_parser_result
fcgi_parser_scan(struct fcgi_parser *g, struct buf *in, struct buf *reply,
                 const struct fcgi_limits *limits)
{
    while (in->len > g->pos) {
        size_t at = g->pos, have = in->len - at;
        const uint8_t *h = (const uint8_t *)in->data + at;
        if (g->skip > 0) {
            size_t n = g->skip < have ? g->skip : have;
            g->skip -= n;
            g->pos += n;
            continue;
        }
        if (h[0] != FCGI_VERSION_1) {
            return FCGI_PARSER_CLOSE;
        }
        if (have < FCGI_HEADER ||
            have < FCGI_HEADER + fcgi_u16(h + 4) + (size_t)h[6]) {
            break;
        }
        g->pos = at + FCGI_HEADER + fcgi_u16(h + 4) + h[6];
        enum fcgi_parser_result r = record(g, in, at, reply, limits);
        if (r != FCGI_PARSER_MORE) {
            return r;
        }
    }
    /* Dropped records and padding must not grow the input. */
    if (g->pos - (g->id == 0 ? 0 : g->params_at + g->params_len) >
        COMPACT_GAP) {
        fcgi_parser_compact(g, in);
    }
    if (g->pos == in->len && g->id == 0) {
        g->pos = in->len = 0;
    }
    return FCGI_PARSER_MORE;
}
