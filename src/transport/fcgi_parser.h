/*
 * fcgi_parser.h - the head of a FastCGI request, and what else a peer sends
 *
 * What:      reads records until it has BEGIN_REQUEST and all PARAMS of one
 *            request and has checked them; answers management records, unknown
 *            roles, second BEGINs and stale ABORTs itself. No thread, libfcgi
 *            or Python sees the request before that.
 * Owner:     the connection.
 * Lifetime:  as long as the connection; fcgi_parser_reset() between requests.
 * Threads:   the owner of the connection.                        GIL: not used.
 * Errors:    FCGI_PARSER_CLOSE: this peer does not speak FastCGI. A well-formed
 *            head that cannot be served is ready as well, with its fault.
 * Blocks:    never: it works on bytes that have arrived.
 * Standards: FastCGI 1.0, 3.3, 3.4, 4, 5.
 */
#ifndef TRANSPORT_FCGI_PARSER_H
#define TRANSPORT_FCGI_PARSER_H

#include "base/buf.h"
#include "base/compiler.h"
#include "gateway/params.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FCGI_HEADER = 8, FCGI_RECORD_MAX = 8 + 65535 + 255 };

/* The most content we put into one record: a multiple of 8, no padding. */
enum { FCGI_PIECE = 65528 };

enum fcgi_parser_result {
    FCGI_PARSER_CLOSE = -1,
    FCGI_PARSER_MORE = 0,
    FCGI_PARSER_READY = 1
};

/* The values for GET_VALUES, and how much a peer may make us hold. */
struct fcgi_limits {
    uint64_t head;      /* bytes of PARAMS in one request */
    unsigned vars;      /* name-value pairs in them */
    unsigned max_conns; /* FCGI_MAX_CONNS */
    unsigned max_reqs;  /* FCGI_MAX_REQS */
};

struct fcgi_parser {
    size_t pos;       /* in the input: first byte not scanned yet */
    size_t skip;      /* bytes to drop at pos: the rest of an old record */
    size_t params_at; /* in the input: the PARAMS content, merged */
    size_t params_len;
    uint16_t id;       /* 0 = between requests */
    uint16_t stale_id; /* a request that has ended before its body did, or 0 */
    uint8_t role;
    uint8_t fault;   /* enum params_fault of the current request */
    bool keep;       /* FCGI_KEEP_CONN of the current request */
    bool stale_head; /* of stale_id not even the PARAMS have ended */
};

/* Takes records from in[pos..len). FCGI_PARSER_READY: id, role, keep and the
 * PARAMS content in[params_at..params_at + params_len) are set and checked, pos
 * is behind the head. Refuse a request with a fault; PARAMS_TOO_LARGE is known
 * before the head has ended. FCGI_PARSER_MORE: more bytes are needed. Answers
 * for the peer are added to reply: send them in every case. */
CHECK_RESULT enum fcgi_parser_result
fcgi_parser_scan(struct fcgi_parser *g, struct buf *in, struct buf *reply,
                 const struct fcgi_limits *limits);

/* Ends the request; bytes that have arrived stay. skip: how many bytes of the
 * current record are still to come, to be dropped. body_to_come: the end of
 * this request's body has not been seen. */
void fcgi_parser_reset(struct fcgi_parser *g, size_t skip, bool body_to_come);

/* Moves what is still needed in the input to its front. */
void fcgi_parser_compact(struct fcgi_parser *g, struct buf *in);

/* Answers one complete record that is not of the current request id while that
 * request runs (management, a second BEGIN); anything else is ignored. */
CHECK_RESULT enum fcgi_parser_result
fcgi_parser_answer(const struct fcgi_parser *g, const uint8_t *record,
                   struct buf *reply, const struct fcgi_limits *limits);

/* Writes a record header. */
void fcgi_header(uint8_t h[FCGI_HEADER], unsigned type, unsigned id, size_t n);

/* The two bytes at p as a number. */
static inline unsigned
fcgi_u16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

struct fcgi_pair {
    const uint8_t *name, *value;
    size_t nname, nvalue;
};

/* The two lengths of a pair, in either form; *p moves behind them. False if
 * they are cut off. */
CHECK_RESULT bool fcgi_take_lengths(const uint8_t **p, const uint8_t *end,
                                    struct fcgi_pair *ret);

/* The name-value pair at *p, which moves behind it (3.4). False at the end, and
 * if a length goes beyond it: then *p is not behind end. Inline, since a
 * request has some thirty of them, twice. */
CHECK_RESULT ALWAYS_INLINE bool
fcgi_take_pair(const uint8_t **p, const uint8_t *end, struct fcgi_pair *ret)
{
    const uint8_t *s = *p;
    size_t nname, nvalue;

    if (end - s >= 2 && ((s[0] | s[1]) & 0x80) == 0) {
        nname = s[0];
        nvalue = s[1];
        s += 2;
    }
    else {
        /* Variables of its own: those of the caller stay in registers. */
        const uint8_t *at = s;
        struct fcgi_pair lengths;
        if (!fcgi_take_lengths(&at, end, &lengths)) {
            return false;
        }
        nname = lengths.nname;
        nvalue = lengths.nvalue;
        s = at;
    }
    /* Each length is below 2^31: the sum cannot wrap in 64 bits. */
    if (nname + nvalue > (size_t)(end - s)) {
        return false;
    }
    *ret = (struct fcgi_pair){
        .name = s, .value = s + nname, .nname = nname, .nvalue = nvalue};
    *p = s + nname + nvalue;
    return true;
}

/* PARAMS_OK if every length fits, no name is empty or has "=", there is no NUL
 * (so a process environment could hold it), and there are no more than max
 * pairs. */
CHECK_RESULT enum params_fault fcgi_params_check(const uint8_t *p, size_t n,
                                                 unsigned max);

/* Adds the pairs of a head to the variables of its request. If it has a fault:
 * only well-formed pairs of the client's first max headers and of the server's
 * first max variables. 0 or -ENOMEM. */
CHECK_RESULT int fcgi_params_add(struct params *to, const uint8_t *p, size_t n,
                                 enum params_fault fault, unsigned max);

#endif
