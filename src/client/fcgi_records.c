/*
 * fcgi_records.c - the records of a request, and those of its response
 */
#include "client/fcgi_records.h"

#include <assert.h>
#include <errno.h>
#include <fastcgi.h>
#include <string.h>

/* -- a request ------------------------------------------------------------- */

int
fcgi_records_add(struct buf *out, unsigned type, unsigned id, const void *bytes,
                 size_t n)
{
    uint8_t h[FCGI_HEADER];

    fcgi_header(h, type, id, n);
    int e = buf_add(out, h, sizeof h);
    return e == 0 && n > 0 ? buf_add(out, bytes, n) : e;
}

int
fcgi_records_add_head(struct buf *out, const struct buf *vars)
{
    const uint8_t begin[8] = {0, FCGI_RESPONDER};
    int e = fcgi_records_add(out, FCGI_BEGIN_REQUEST, FCGI_REQUEST_ID, begin,
                             sizeof begin);

    for (size_t at = 0; e == 0 && at < vars->len;) {
        size_t n = vars->len - at < FCGI_PIECE ? vars->len - at : FCGI_PIECE;
        e = fcgi_records_add(out, FCGI_PARAMS, FCGI_REQUEST_ID, vars->data + at,
                             n);
        at += n;
    }
    return e == 0 ? fcgi_records_add(out, FCGI_PARAMS, FCGI_REQUEST_ID, NULL, 0)
                  : e;
}

/* -- a response ------------------------------------------------------------ */

/* -errno for a header with another version. 0 ends an incomplete answer: see
 * fcgi_break_off(). */
static int
check_version(struct fcgi_reader *r)
{
    if (r->nheader == 0 || r->header[0] == FCGI_VERSION_1) {
        return 0;
    }
    r->is_broken_off = r->has_begun && r->header[0] == 0;
    return r->is_broken_off ? -ENODATA : -EPROTO;
}

/* A management record, for which only a question without a request waits. */
static int
check_management(const struct fcgi_reader *r)
{
    unsigned type = r->header[1];

    return r->sink != NULL || type == FCGI_GET_VALUES_RESULT ||
                   type == FCGI_UNKNOWN_TYPE
               ? 0
               : -EPROTO;
}

/* The header is complete. */
static int
begin_record(struct fcgi_reader *r)
{
    unsigned type = r->header[1], id = fcgi_u16(r->header + 2);

    r->content = fcgi_u16(r->header + 4);
    r->padding = r->header[6];
    if (id == 0) {
        return check_management(r);
    }
    if (id != FCGI_REQUEST_ID || r->sink == NULL) {
        return -EPROTO;
    }
    switch (type) {
    case FCGI_STDOUT:
        r->has_begun = true;
        return 0;
    case FCGI_STDERR:
        return 0;
    case FCGI_END_REQUEST:
        return r->content == sizeof r->end ? 0 : -EPROTO;
    default:
        return -EPROTO;
    }
}

static void
end_content(struct fcgi_reader *r)
{
    bool is_management = fcgi_u16(r->header + 2) == 0;

    if (!is_management && r->header[1] == FCGI_END_REQUEST) {
        r->app_status = (uint32_t)r->end[0] << 24 | (uint32_t)r->end[1] << 16 |
                        (uint32_t)r->end[2] << 8 | r->end[3];
        r->protocol_status = r->end[4];
        r->is_done = true;
    }
    else if (is_management && r->sink == NULL) {
        r->is_done = true;
    }
}

static int
take_content(struct fcgi_reader *r, const char *bytes, size_t n)
{
    unsigned type = r->header[1];

    assert(n > 0 && n <= r->content);
    r->content -= n;
    if (fcgi_u16(r->header + 2) == 0) {
        return 0;
    }
    if (type == FCGI_END_REQUEST) {
        memcpy(r->end + sizeof r->end - r->content - n, bytes, n);
        return 0;
    }
    return r->sink(r->arg, type == FCGI_STDERR, bytes, n);
}

/* Takes bytes of the header; *ret_n says how many. */
static int
take_header(struct fcgi_reader *r, const char *bytes, size_t n, size_t *ret_n)
{
    size_t want = FCGI_HEADER - r->nheader;

    *ret_n = n < want ? n : want;
    memcpy(r->header + r->nheader, bytes, *ret_n);
    r->nheader += *ret_n;
    /* Less than a header: the answer of an HTTP server, perhaps. */
    int e = check_version(r);
    if (e == 0 && r->nheader == FCGI_HEADER) {
        e = begin_record(r);
        if (e == 0 && r->content == 0) {
            end_content(r);
        }
    }
    return e;
}

int
fcgi_reader_take(struct fcgi_reader *r, const char *bytes, size_t n)
{
    int e = 0;

    while (e == 0 && n > 0 && !r->is_done) {
        size_t step;
        if (r->nheader < FCGI_HEADER) {
            e = take_header(r, bytes, n, &step);
        }
        else if (r->content > 0) {
            step = n < r->content ? n : r->content;
            e = take_content(r, bytes, step);
            if (e == 0 && r->content == 0) {
                end_content(r);
            }
        }
        else {
            step = n < r->padding ? n : r->padding;
            r->padding -= step;
        }
        if (r->nheader == FCGI_HEADER && r->content == 0 && r->padding == 0) {
            r->nheader = 0;
        }
        bytes += step;
        n -= step;
    }
    return e;
}

const char *
fcgi_records_refusal(unsigned protocol_status)
{
    switch (protocol_status) {
    case FCGI_CANT_MPX_CONN:
        return "it refuses a second request on a connection";
    case FCGI_OVERLOADED:
        return "it is overloaded";
    case FCGI_UNKNOWN_ROLE:
        return "it is not a responder";
    default:
        return "it refuses the request";
    }
}
