/*
 * test_fcgi_parser.c - transport/fcgi_parser: what a peer may send before a request is one
 *
 * Every stream is fed whole and in pieces; the result must not depend on it.
 */
#include "unit.h"

#include "transport/fcgi_parser.h"

#include <fastcgi.h>
#include <stdbool.h>

enum {
    HEAD_LIMIT = 4096,
    VARS_LIMIT = 50,
    IN_MAX = 256 << 10,
    REPLY_MAX = 64 << 10
};

static const struct fcgi_limits limits = {
    .head = HEAD_LIMIT, .vars = VARS_LIMIT, .max_conns = 12, .max_reqs = 34};

/* A conversation: bytes in, the parser, bytes out. */
struct talk {
    struct fcgi_parser parser;
    struct buf in;
    struct buf reply;
};

static void
talk_init(struct talk *t)
{
    memset(&t->parser, 0, sizeof(t->parser));
    buf_init(&t->in, IN_MAX);
    buf_init(&t->reply, REPLY_MAX);
}

static void
talk_fini(struct talk *t)
{
    buf_fini(&t->in);
    buf_fini(&t->reply);
}

static enum fcgi_parser_result
feed(struct talk *t, const struct buf *stream, size_t piece)
{
    enum fcgi_parser_result r = FCGI_PARSER_MORE;
    size_t at = 0;
    while (r == FCGI_PARSER_MORE && at < stream->len) {
        size_t n = stream->len - at < piece ? stream->len - at : piece;
        assert_int_equal(buf_add(&t->in, stream->data + at, n), 0);
        at += n;
        r = fcgi_parser_scan(&t->parser, &t->in, &t->reply, &limits);
        assert_true(t->parser.pos <= t->in.len);
    }
    /* What follows a whole head has arrived as well. */
    if (r == FCGI_PARSER_READY && at < stream->len) {
        assert_int_equal(buf_add(&t->in, stream->data + at, stream->len - at),
                         0);
    }
    return r;
}

/* -- building records ------------------------------------------------------ */

static void
add_padded(struct buf *b, unsigned type, unsigned id, const void *content,
           size_t n, unsigned padding)
{
    static const char zeros[256];
    uint8_t h[FCGI_HEADER];
    fcgi_header(h, type, id, n);
    h[6] = (uint8_t)padding;
    assert_int_equal(buf_add(b, h, sizeof(h)), 0);
    assert_int_equal(buf_add(b, content, n), 0);
    assert_int_equal(buf_add(b, zeros, padding), 0);
}

static void
add_record(struct buf *b, unsigned type, unsigned id, const void *content,
           size_t n)
{
    add_padded(b, type, id, content, n, 0);
}

static void
add_begin(struct buf *b, unsigned id, unsigned role, bool keep)
{
    const uint8_t body[8] = {(uint8_t)(role >> 8), (uint8_t)role,
                             keep ? FCGI_KEEP_CONN : 0};
    add_record(b, FCGI_BEGIN_REQUEST, id, body, sizeof(body));
}

/* "\1\1AB": A=B and so on; NUL-free texts only. */
#define PAIRS "\x06\x03METHODGET\x01\x02Xyz"

static void
add_params(struct buf *b, unsigned id, const char *pairs)
{
    add_record(b, FCGI_PARAMS, id, pairs, strlen(pairs));
}

static void
add_request(struct buf *b, unsigned id, const char *pairs)
{
    add_begin(b, id, FCGI_RESPONDER, true);
    add_params(b, id, pairs);
    add_record(b, FCGI_PARAMS, id, NULL, 0);
}

static const uint8_t *
params_of(const struct talk *t)
{
    return (const uint8_t *)t->in.data + t->parser.params_at;
}

static void
expect_ready(const struct talk *t, unsigned id, const char *pairs)
{
    assert_int_equal(t->parser.id, id);
    assert_int_equal(t->parser.params_len, strlen(pairs));
    assert_memory_equal(params_of(t), pairs, strlen(pairs));
}

/* Feeds the stream whole and in pieces of 1, 2, 3, 7, 8, 9 and 4096 bytes. */
typedef void (*expect_fn)(const struct talk *t, enum fcgi_parser_result r);

static void
feed_in_all_ways(const struct buf *stream, expect_fn expect)
{
    static const size_t pieces[] = {IN_MAX, 1, 2, 3, 7, 8, 9, 4096};
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        struct talk t;
        talk_init(&t);
        expect(&t, feed(&t, stream, pieces[i]));
        talk_fini(&t);
    }
}

/* -- whole requests -------------------------------------------------------- */

static void
is_simple_request(const struct talk *t, enum fcgi_parser_result r)
{
    assert_int_equal(r, FCGI_PARSER_READY);
    expect_ready(t, 1, PAIRS);
    assert_int_equal(t->parser.role, FCGI_RESPONDER);
    assert_true(t->parser.keep);
    assert_int_equal(t->reply.len, 0);
}

static void
test_a_request_in_pieces_of_any_size(void **state UNUSED)
{
    struct buf s;
    buf_init(&s, IN_MAX);
    add_request(&s, 1, PAIRS);
    feed_in_all_ways(&s, is_simple_request);
    buf_fini(&s);
}

/* F6: streams are independent of record cuts. */
static void
test_params_cut_at_every_byte(void **state UNUSED)
{
    size_t n = strlen(PAIRS);
    for (size_t cut = 0; cut <= n; cut++) {
        struct buf s;
        buf_init(&s, IN_MAX);
        add_begin(&s, 1, FCGI_RESPONDER, true);
        if (cut > 0) {
            add_record(&s, FCGI_PARAMS, 1, PAIRS, cut);
        }
        if (cut < n) {
            add_record(&s, FCGI_PARAMS, 1, &PAIRS[cut], n - cut);
        }
        add_record(&s, FCGI_PARAMS, 1, NULL, 0);
        feed_in_all_ways(&s, is_simple_request);
        buf_fini(&s);
    }
    struct buf s;
    buf_init(&s, IN_MAX);
    add_begin(&s, 1, FCGI_RESPONDER, true);
    for (size_t i = 0; i < n; i++) {
        add_record(&s, FCGI_PARAMS, 1, &PAIRS[i], 1);
    }
    add_record(&s, FCGI_PARAMS, 1, NULL, 0);
    feed_in_all_ways(&s, is_simple_request);
    buf_fini(&s);
}

/* F5: padding on every record, BEGIN_REQUEST too. */
static void
test_padding_of_any_length(void **state UNUSED)
{
    static const uint8_t begin[8] = {0, FCGI_RESPONDER, FCGI_KEEP_CONN};
    for (unsigned padding = 0; padding <= 255; padding++) {
        struct buf s;
        buf_init(&s, IN_MAX);
        add_padded(&s, FCGI_BEGIN_REQUEST, 1, begin, 8, padding);
        add_padded(&s, FCGI_PARAMS, 1, PAIRS, 5, padding);
        add_padded(&s, FCGI_PARAMS, 1, &PAIRS[5], strlen(PAIRS) - 5, padding);
        add_padded(&s, FCGI_PARAMS, 1, NULL, 0, padding);
        feed_in_all_ways(&s, is_simple_request);
        buf_fini(&s);
    }
}

/* F10, F11, F27, F28 */
static void
test_ids_roles_and_the_keep_flag(void **state UNUSED)
{
    static const unsigned ids[] = {1, 2, 255, 256, 32768, 65535};
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        for (unsigned role = FCGI_RESPONDER; role <= FCGI_FILTER; role++) {
            struct buf s;
            struct talk t;
            buf_init(&s, IN_MAX);
            talk_init(&t);
            add_begin(&s, ids[i], role, role == FCGI_FILTER);
            add_params(&s, ids[i], PAIRS);
            add_record(&s, FCGI_PARAMS, ids[i], NULL, 0);
            assert_int_equal(feed(&t, &s, 3), FCGI_PARSER_READY);
            expect_ready(&t, ids[i], PAIRS);
            assert_int_equal(t.parser.role, role);
            assert_true(t.parser.keep == (role == FCGI_FILTER));
            talk_fini(&t);
            buf_fini(&s);
        }
    }
}

static void
test_flags_but_keep_are_ignored(void **state UNUSED)
{
    uint8_t begin[8] = {0, FCGI_RESPONDER, 0xfe, 1, 2, 3, 4, 5};
    struct buf s;
    struct talk t;
    buf_init(&s, IN_MAX);
    talk_init(&t);
    add_record(&s, FCGI_BEGIN_REQUEST, 1, begin, 8);
    add_params(&s, 1, PAIRS);
    add_record(&s, FCGI_PARAMS, 1, NULL, 0);
    assert_int_equal(feed(&t, &s, 3), FCGI_PARSER_READY);
    assert_false(t.parser.keep);
    talk_fini(&t);
    buf_fini(&s);
}

/* The bound of --limit-head, in one record and in many. */
static void
test_the_limit_of_the_head(void **state UNUSED)
{
    for (size_t n = HEAD_LIMIT - 1; n <= HEAD_LIMIT + 1; n++) {
        for (size_t cut = 100; cut <= 65535; cut *= 100) {
            /* one pair: "X", a value that fills the rest; 1 + 4 + 1 bytes */
            char params[HEAD_LIMIT + 1];
            size_t value = n - 6;
            memset(params, 'v', sizeof(params));
            params[0] = 1;
            params[1] = (char)0x80;
            params[2] = 0;
            params[3] = (char)(value >> 8);
            params[4] = (char)value;
            params[5] = 'X';
            struct buf s;
            struct talk t;
            buf_init(&s, IN_MAX);
            talk_init(&t);
            add_begin(&s, 1, FCGI_RESPONDER, true);
            for (size_t at = 0; at < n; at += cut) {
                add_record(&s, FCGI_PARAMS, 1, params + at,
                           n - at < cut ? n - at : cut);
            }
            add_record(&s, FCGI_PARAMS, 1, NULL, 0);
            assert_int_equal(feed(&t, &s, 1000), FCGI_PARSER_READY);
            assert_int_equal(t.parser.fault,
                             n <= HEAD_LIMIT ? PARAMS_OK : PARAMS_TOO_LARGE);
            assert_int_equal(t.parser.params_len,
                             n <= HEAD_LIMIT ? n : HEAD_LIMIT);
            talk_fini(&t);
            buf_fini(&s);
        }
    }
}

/* A head that was too large is answered before it has ended. What is left of it is
 * dropped, and its end is not the end of the request. */
static void
test_the_rest_of_a_head_that_is_too_large(void **state UNUSED)
{
    static const char value[2 * HEAD_LIMIT];
    struct buf s;
    struct talk t;
    buf_init(&s, IN_MAX);
    talk_init(&t);
    add_begin(&s, 5, FCGI_RESPONDER, true);
    add_params(&s, 5, PAIRS);
    add_record(&s, FCGI_PARAMS, 5, value, sizeof(value));
    assert_int_equal(feed(&t, &s, 1000), FCGI_PARSER_READY);
    assert_int_equal(t.parser.fault, PARAMS_TOO_LARGE);
    assert_memory_equal(params_of(&t), PAIRS, strlen(PAIRS));
    fcgi_parser_reset(&t.parser, 0, true);
    assert_true(t.parser.stale_head);
    s.len = 0;
    add_record(&s, FCGI_PARAMS, 5, value, sizeof(value));
    add_record(&s, FCGI_PARAMS, 5, NULL, 0);
    add_record(&s, FCGI_STDIN, 5, "body", 4);
    assert_int_equal(feed(&t, &s, 1000), FCGI_PARSER_MORE);
    assert_int_equal(t.parser.stale_id, 5);
    assert_false(t.parser.stale_head);
    s.len = 0;
    add_record(&s, FCGI_STDIN, 5, NULL, 0);
    assert_int_equal(feed(&t, &s, 1000), FCGI_PARSER_MORE);
    assert_int_equal(t.parser.stale_id, 0);
    s.len = 0;
    add_request(&s, 6, PAIRS);
    assert_int_equal(feed(&t, &s, 1000), FCGI_PARSER_READY);
    assert_int_equal(t.parser.fault, PARAMS_OK);
    expect_ready(&t, 6, PAIRS);
    talk_fini(&t);
    buf_fini(&s);
}

/* The bound of --limit-vars. */
static void
test_the_limit_of_the_variables(void **state UNUSED)
{
    for (unsigned n = VARS_LIMIT - 1; n <= VARS_LIMIT + 1; n++) {
        struct buf s;
        struct talk t;
        buf_init(&s, IN_MAX);
        talk_init(&t);
        add_begin(&s, 1, FCGI_RESPONDER, true);
        for (unsigned i = 0; i < n; i++) {
            add_params(&s, 1, "\1\1AB"); /* repeats count */
        }
        add_record(&s, FCGI_PARAMS, 1, NULL, 0);
        assert_int_equal(feed(&t, &s, 1000), FCGI_PARSER_READY);
        assert_int_equal(t.parser.fault,
                         n <= VARS_LIMIT ? PARAMS_OK : PARAMS_TOO_MANY);
        talk_fini(&t);
        buf_fini(&s);
    }
}

/* What a refused head leaves for the log. */
static void
test_the_variables_of_a_refused_head(void **state UNUSED)
{
    static const char head[] = "\4\1HOSTa\6\1HTTP_Ab\6\2HTTP_Bc\0\3\1A=Bd"
                               "\0\1e\6\1HTTP_Cf\3\1ENDg";
    static const struct {
        enum params_fault fault;
        unsigned max;
        size_t n;
    } cases[] = {{PARAMS_OK, 2, 7},
                 {PARAMS_BAD_BYTE, 7, 4}, /* HOST, HTTP_A, HTTP_C, END */
                 {PARAMS_TOO_MANY, 4, 4},
                 {PARAMS_TOO_LARGE, 3, 3},  /* HOST, HTTP_A, HTTP_C */
                 {PARAMS_TOO_LARGE, 2, 2}}; /* HOST, HTTP_A */
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct params p;
        params_init(&p);
        assert_int_equal(fcgi_params_add(&p, (const uint8_t *)head,
                                         sizeof(head) - 1, cases[i].fault,
                                         cases[i].max),
                         0);
        assert_int_equal(p.n, cases[i].n);
        assert_true(params_is(&p, "HOST", "a"));
        assert_int_equal(params_is(&p, "END", "g"), cases[i].n > 3);
        params_fini(&p);
    }
}

/* -- what follows ---------------------------------------------------------- */

/* Pipelining: what has arrived behind the head stays, byte for byte. */
static void
test_two_requests_in_one_buffer(void **state UNUSED)
{
    struct buf s;
    struct talk t;
    buf_init(&s, IN_MAX);
    talk_init(&t);
    add_request(&s, 1, PAIRS);
    add_padded(&s, FCGI_STDIN, 1, "body", 4, 4);
    add_record(&s, FCGI_STDIN, 1, NULL, 0);
    add_request(&s, 7,
                "\x01\x01"
                "AB");
    assert_int_equal(feed(&t, &s, IN_MAX), FCGI_PARSER_READY);
    expect_ready(&t, 1, PAIRS);
    const uint8_t *rest = (const uint8_t *)t.in.data + t.parser.pos;
    assert_int_equal(rest[1], FCGI_STDIN);
    assert_memory_equal(rest + 8, "body", 4);

    /* Compacting in the middle of a request loses neither head nor rest. */
    fcgi_parser_compact(&t.parser, &t.in);
    expect_ready(&t, 1, PAIRS);
    assert_int_equal(t.parser.params_at, 0);
    rest = (const uint8_t *)t.in.data + t.parser.pos;
    assert_memory_equal(rest + 8, "body", 4);
    fcgi_parser_compact(&t.parser, &t.in); /* nothing left to do */
    expect_ready(&t, 1, PAIRS);

    t.parser.pos += 16 + 8; /* what the transport does with STDIN */
    fcgi_parser_reset(&t.parser, 0, false);
    assert_int_equal(t.parser.id, 0);
    assert_int_equal(fcgi_parser_scan(&t.parser, &t.in, &t.reply, &limits),
                     FCGI_PARSER_READY);
    expect_ready(&t, 7,
                 "\x01\x01"
                 "AB");
    assert_int_equal(t.parser.pos, t.in.len);
    talk_fini(&t);
    buf_fini(&s);
}

static void
test_the_rest_of_an_old_record_is_skipped(void **state UNUSED)
{
    for (size_t piece = 1; piece < 40; piece++) {
        struct buf s;
        struct talk t;
        buf_init(&s, IN_MAX);
        talk_init(&t);
        /* Bytes that would close the connection, were they looked at. */
        assert_int_equal(buf_add_str(&s, "rest of a record"), 0);
        add_request(&s, 1, PAIRS);
        fcgi_parser_reset(&t.parser, 16, false);
        assert_int_equal(feed(&t, &s, piece), FCGI_PARSER_READY);
        expect_ready(&t, 1, PAIRS);
        talk_fini(&t);
        buf_fini(&s);
    }
}

static void
test_the_same_id_again(void **state UNUSED)
{
    struct buf s;
    struct talk t;
    buf_init(&s, IN_MAX);
    talk_init(&t);
    for (int i = 0; i < 3; i++) {
        s.len = 0;
        add_request(&s, 5, PAIRS);
        assert_int_equal(feed(&t, &s, 5), FCGI_PARSER_READY);
        expect_ready(&t, 5, PAIRS);
        fcgi_parser_reset(&t.parser, 0, false);
        fcgi_parser_compact(&t.parser, &t.in);
    }
    assert_int_equal(t.in.len - t.parser.pos, 0);
    talk_fini(&t);
    buf_fini(&s);
}

/* A request answered before its body was read: the rest of it is known as such
 * until its end, or the next request, has come. */
static void
test_the_body_of_an_ended_request(void **state UNUSED)
{
    struct buf s;
    struct talk t;
    buf_init(&s, IN_MAX);
    talk_init(&t);
    add_request(&s, 5, PAIRS);
    assert_int_equal(feed(&t, &s, 5), FCGI_PARSER_READY);
    assert_int_equal(t.parser.stale_id, 0);
    fcgi_parser_reset(&t.parser, 0, true);
    assert_int_equal(t.parser.stale_id, 5);
    s.len = 0;
    add_record(&s, FCGI_STDIN, 5, "rest", 4);
    add_record(&s, FCGI_STDIN, 6, NULL, 0); /* not its end */
    assert_int_equal(feed(&t, &s, 5), FCGI_PARSER_MORE);
    assert_int_equal(t.parser.stale_id, 5);
    s.len = 0;
    add_record(&s, FCGI_STDIN, 5, NULL, 0);
    assert_int_equal(feed(&t, &s, 5), FCGI_PARSER_MORE);
    assert_int_equal(t.parser.stale_id, 0);

    for (unsigned next = 5; next <= 6; next++) {
        fcgi_parser_reset(&t.parser, 0, true);
        t.parser.stale_id = 5;
        s.len = 0;
        add_request(&s, next, PAIRS);
        assert_int_equal(feed(&t, &s, 5), FCGI_PARSER_READY);
        expect_ready(&t, next, PAIRS);
        assert_int_equal(t.parser.stale_id, 0);
    }
    talk_fini(&t);
    buf_fini(&s);
}

/* -- what is refused ------------------------------------------------------- */

static void
is_refused(const struct talk *t UNUSED, enum fcgi_parser_result r)
{
    assert_int_equal(r, FCGI_PARSER_CLOSE);
}

static void
is_waiting(const struct talk *t, enum fcgi_parser_result r)
{
    assert_int_equal(r, FCGI_PARSER_MORE);
    assert_int_equal(t->reply.len, 0);
}

static void
test_other_versions_are_refused(void **state UNUSED)
{
    /* F4; and at the first byte: nothing is waited for. */
    for (int version = 0; version < 256; version++) {
        char byte = (char)version;
        struct buf s = {.data = &byte, .len = 1, .cap = 1, .max = 1};
        feed_in_all_ways(&s, version == 1 ? is_waiting : is_refused);
    }
    struct buf http;
    buf_init(&http, 100);
    assert_int_equal(buf_add_str(&http, "GET / HTTP/1.0\r\n\r\n"), 0);
    feed_in_all_ways(&http, is_refused);
    buf_fini(&http);
}

static void
test_a_begin_of_another_size_is_refused(void **state UNUSED)
{
    static const uint8_t body[16] = {0, FCGI_RESPONDER, 1};
    for (size_t n = 0; n <= 16; n++) {
        struct buf s;
        buf_init(&s, IN_MAX);
        add_record(&s, FCGI_BEGIN_REQUEST, 1, body, n);
        feed_in_all_ways(&s, n == 8 ? is_waiting : is_refused);
        buf_fini(&s);
    }
}

static void
test_a_request_without_params_is_refused(void **state UNUSED)
{
    /* F8: libfcgi would call the application with an empty environ. */
    struct buf s;
    buf_init(&s, IN_MAX);
    add_begin(&s, 1, FCGI_RESPONDER, true);
    add_record(&s, FCGI_PARAMS, 1, NULL, 0);
    feed_in_all_ways(&s, is_refused);
    buf_fini(&s);
}

static void
test_other_records_of_the_request_are_refused(void **state UNUSED)
{
    static const unsigned types[] = {FCGI_BEGIN_REQUEST,
                                     FCGI_END_REQUEST,
                                     FCGI_STDIN,
                                     FCGI_STDOUT,
                                     FCGI_STDERR,
                                     FCGI_DATA,
                                     FCGI_GET_VALUES,
                                     12,
                                     255};
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        struct buf s;
        buf_init(&s, IN_MAX);
        add_begin(&s, 1, FCGI_RESPONDER, true);
        add_params(&s, 1, PAIRS);
        add_record(&s, types[i], 1, "x", 1);
        feed_in_all_ways(&s, is_refused);
        buf_fini(&s);
    }
}

/* -- params ---------------------------------------------------------------- */

static uint32_t
next_random(uint32_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 17;
    *x ^= *x << 5;
    return *x;
}

#define CHECK(BYTES) \
    fcgi_params_check((const uint8_t *)(BYTES), sizeof(BYTES) - 1, VARS_LIMIT)
#define OK(BYTES) (CHECK(BYTES) == PARAMS_OK)
#define BAD(BYTES) (CHECK(BYTES) == PARAMS_BAD_BYTE)
#define BROKEN(BYTES) (CHECK(BYTES) == PARAMS_BROKEN)

static void
test_params_of_all_forms(void **state UNUSED)
{
    assert_true(OK(""));
    assert_true(OK("\1\0X")); /* no value */
    assert_true(OK("\1\1XY"));
    assert_true(OK("\1\0X\1\0Y"));
    assert_true(OK("\x80\0\0\1\1XY")); /* F7: all four combinations */
    assert_true(OK("\1\x80\0\0\1XY"));
    assert_true(OK("\x80\0\0\1\x80\0\0\1XY"));
    assert_true(BAD("\0\0")); /* no name */
    assert_true(BAD("\0\1Y"));
    assert_true(BAD("\x80\0\0\0\0"));
    assert_true(BAD("\3\0A=B")); /* what would split elsewhere */
    assert_true(BAD("\1\0="));
    assert_true(OK("\1\1A="));
    assert_true(BAD("\2\0A\0")); /* what would end early */
    assert_true(BAD("\1\1A\0"));
    assert_true(BAD("\1\3Aa\0b"));
    assert_true(BROKEN("\1\0X\1\1Y")); /* the second pair is cut */
    assert_true(BROKEN("\1\0=\1\1Y")); /* whatever comes before it */
    assert_true(BAD("\1\0=\1\1YZ"));
    assert_true(OK("\1\1\xff\xfe")); /* any other byte */
}

/* 127 is the longest length of one byte. */
static void
test_params_lengths_of_one_and_four_bytes(void **state UNUSED)
{
    for (unsigned n = 126; n <= 129; n++) {
        uint8_t p[5 + 129];
        memset(p, 'x', sizeof(p));
        p[0] = (uint8_t)n; /* from 128 on: the first of four bytes */
        p[1] = 0;
        assert_int_equal(fcgi_params_check(p, 2 + (size_t)n, 1),
                         n <= 127 ? PARAMS_OK : PARAMS_BROKEN);
        memcpy(p, "\x80\0\0", 3);
        p[3] = (uint8_t)n;
        p[4] = 0;
        assert_int_equal(fcgi_params_check(p, 5 + (size_t)n, 1), PARAMS_OK);
        assert_int_equal(fcgi_params_check(p, 4 + (size_t)n, 1), PARAMS_BROKEN);
    }
}

static void
test_params_cut_off_anywhere(void **state UNUSED)
{
    static const char pairs[] = "\x80\0\0\2\x80\0\0\3NAabc"
                                "\3\2XYZde"
                                "\1\x80\0\0\1Q7";
    /* Whole after 13, 20 and 27 bytes, broken everywhere else. */
    for (size_t n = 0; n < sizeof(pairs); n++) {
        /* A copy of its own, so that a sanitizer sees a byte too many. */
        uint8_t *copy = malloc(n + 1);
        assert_non_null(copy);
        memcpy(copy, pairs, n);
        uint8_t *exact = n == 0 ? copy : realloc(copy, n);
        assert_non_null(exact);
        bool whole = n == 0 || n == 13 || n == 20 || n == 27;
        if (fcgi_params_check(exact, n, 3) !=
            (whole ? PARAMS_OK : PARAMS_BROKEN)) {
            fail_msg("%zu bytes", n);
        }
        free(exact);
    }
    assert_int_equal(sizeof(pairs) - 1, 27);
}

/* A name or a value of 0, 1, 2 or 61 bytes (61 is "="), in one of four with a
 * special byte in it. */
static size_t
random_text(uint32_t *seed, uint8_t *to, bool *ret_equals, bool *ret_nul)
{
    static const size_t lengths[] = {0, 1, 2, '='};
    size_t n = lengths[next_random(seed) % 4];

    memset(to, 'A', n);
    if (n > 0 && next_random(seed) % 4 == 0) {
        to[next_random(seed) % n] = next_random(seed) % 2 == 0 ? '=' : '\0';
    }
    *ret_equals = memchr(to, '=', n) != NULL;
    *ret_nul = memchr(to, 0, n) != NULL;
    return n;
}

/* In one byte or in four. */
static size_t
put_length(uint32_t *seed, uint8_t *to, size_t n)
{
    if (next_random(seed) % 2 == 0) {
        to[0] = (uint8_t)n;
        return 1;
    }
    memcpy(to, "\x80\0\0", 3);
    to[3] = (uint8_t)n;
    return 4;
}

/* Lengths that look like the bytes that are not allowed, these in the value of one
 * pair and the name of the next. */
static void
test_what_is_in_names_and_values(void **state UNUSED)
{
    uint32_t seed = 1;
    unsigned good = 0;

    for (int round = 0; round < 20000; round++) {
        uint8_t p[4 * (8 + 2 * '=')];
        size_t n = 0;
        bool ok = true;
        for (unsigned i = next_random(&seed) % 4; i < 4; i++) {
            bool equals, nul, other, nul2;
            uint8_t text[2 * '='];
            size_t nname = random_text(&seed, text, &equals, &nul);
            size_t nvalue = random_text(&seed, text + nname, &other, &nul2);
            n += put_length(&seed, p + n, nname);
            n += put_length(&seed, p + n, nvalue);
            memcpy(p + n, text, nname + nvalue);
            n += nname + nvalue;
            ok = ok && nname > 0 && !equals && !nul && !nul2;
        }
        good += ok;
        if (fcgi_params_check(p, n, 4) != (ok ? PARAMS_OK : PARAMS_BAD_BYTE)) {
            fail_msg("round %d", round);
        }
    }
    assert_in_range(good, 1000, 19000);
}

static void
test_lengths_that_lie(void **state UNUSED)
{
    /* F8, CVE-2025-23016: sums that wrap in 32 bits. */
    assert_true(BROKEN("\x7f\0X"));
    assert_true(BROKEN("\1\x7fX"));
    assert_true(BROKEN("\xff\xff\xff\xff\0X"));
    assert_true(BROKEN("\1\xff\xff\xff\xffX"));
    assert_true(BROKEN("\xff\xff\xff\xff\xff\xff\xff\xffX"));
    assert_true(BROKEN("\x80\0\0\1\xff\xff\xff\xffX"));
    assert_true(BROKEN("\xff\xff\xff\xff\x80\0\0\2X"));
    struct buf s;
    buf_init(&s, IN_MAX);
    add_request(&s, 1, "\x01\x7fX");
    feed_in_all_ways(&s, is_refused);
    buf_fini(&s);
}

static void
test_a_long_value_over_many_records(void **state UNUSED)
{
    /* Longer than one record can be. */
    enum { VALUE = 200000 };
    struct fcgi_limits wide = limits;
    wide.head = 1 << 20;
    struct talk t;
    talk_init(&t);
    t.in.max = 1 << 20;
    uint8_t *pair = malloc(VALUE + 6);
    assert_non_null(pair);
    static const uint8_t start[6] = {
        1, 0x80, VALUE >> 16, (VALUE >> 8) & 255, VALUE & 255, 'X'};
    memcpy(pair, start, 6);
    for (size_t i = 6; i < VALUE + 6; i++) {
        pair[i] = (uint8_t)(i % 251 + 1);
    }
    add_begin(&t.in, 1, FCGI_RESPONDER, true);
    for (size_t at = 0; at < VALUE + 6; at += 65535) {
        size_t n = VALUE + 6 - at;
        add_padded(&t.in, FCGI_PARAMS, 1, pair + at, n < 65535 ? n : 65535, 1);
    }
    add_record(&t.in, FCGI_PARAMS, 1, NULL, 0);
    assert_int_equal(fcgi_parser_scan(&t.parser, &t.in, &t.reply, &wide),
                     FCGI_PARSER_READY);
    assert_int_equal(t.parser.params_len, VALUE + 6);
    assert_memory_equal(params_of(&t), pair, VALUE + 6);
    free(pair);
    talk_fini(&t);
}

/* -- records between requests, and of others ------------------------------- */

static void
expect_reply(const struct talk *t, const void *bytes, size_t n)
{
    assert_int_equal(t->reply.len, n);
    assert_memory_equal(t->reply.data, bytes, n);
}

#define REPLY(T, BYTES) expect_reply((T), (BYTES), sizeof(BYTES) - 1)

static void
got_all_values(const struct talk *t, enum fcgi_parser_result r)
{
    assert_int_equal(r, FCGI_PARSER_MORE);
    REPLY(t, "\1\x0a\0\0\0\x35\0\0"
             "\x0e\2FCGI_MAX_CONNS12"
             "\x0d\2FCGI_MAX_REQS34"
             "\x0f\1FCGI_MPXS_CONNS0");
}

/* F15: true values, at any time, without more bytes to come. */
static void
test_get_values(void **state UNUSED)
{
    static const char asked[] = "\x0e\0FCGI_MAX_CONNS\x0d\0FCGI_MAX_REQS"
                                "\x0f\0FCGI_MPXS_CONNS";
    for (unsigned padding = 0; padding < 256; padding += 85) {
        struct buf s;
        buf_init(&s, IN_MAX);
        add_padded(&s, FCGI_GET_VALUES, 0, asked, sizeof(asked) - 1, padding);
        feed_in_all_ways(&s, got_all_values);
        buf_fini(&s);
    }
}

static void
got_one_value(const struct talk *t, enum fcgi_parser_result r)
{
    assert_int_equal(r, FCGI_PARSER_MORE);
    REPLY(t, "\1\x0a\0\0\0\x11\0\0"
             "\x0d\2FCGI_MAX_REQS34");
}

static void
test_get_values_with_unknown_and_repeated_names(void **state UNUSED)
{
    /* 20 names overflow a stack buffer of libfcgi. */
    struct buf s;
    struct buf asked;
    buf_init(&s, IN_MAX);
    buf_init(&asked, IN_MAX);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(buf_add(&asked,
                                 "\x0d\0FCGI_MAX_REQS\x0d\0FCGI_MAX_REQX"
                                 "\0\0\x0c\1FCGI_MAX_REQx",
                                 47),
                         0);
    }
    add_record(&s, FCGI_GET_VALUES, 0, asked.data, asked.len);
    feed_in_all_ways(&s, got_one_value);
    buf_fini(&s);
    buf_fini(&asked);
}

static void
got_no_values(const struct talk *t, enum fcgi_parser_result r)
{
    assert_int_equal(r, FCGI_PARSER_MORE);
    REPLY(t, "\1\x0a\0\0\0\0\0\0");
}

static void
test_get_values_with_nothing_or_nonsense(void **state UNUSED)
{
    struct buf s;
    buf_init(&s, IN_MAX);
    add_record(&s, FCGI_GET_VALUES, 0, NULL, 0);
    feed_in_all_ways(&s, got_no_values);
    s.len = 0;
    add_record(&s, FCGI_GET_VALUES, 0, "\x7f\0X", 3);
    feed_in_all_ways(&s, is_refused);
    buf_fini(&s);
}

static void
got_unknown_type(const struct talk *t, enum fcgi_parser_result r)
{
    assert_int_equal(r, FCGI_PARSER_MORE);
    REPLY(t, "\1\x0b\0\0\0\x08\0\0\x64\0\0\0\0\0\0\0"
             "\1\x0b\0\0\0\x08\0\0\x64\0\0\0\0\0\0\0"
             "\1\x0b\0\0\0\x08\0\0\x01\0\0\0\0\0\0\0");
}

/* F16: with and without content; BEGIN_REQUEST of id 0 is no request. */
static void
test_unknown_management_types(void **state UNUSED)
{
    struct buf s;
    buf_init(&s, IN_MAX);
    add_record(&s, 100, 0, NULL, 0);
    add_padded(&s, 100, 0, "some content", 12, 5);
    add_begin(&s, 0, FCGI_RESPONDER, true);
    feed_in_all_ways(&s, got_unknown_type);
    buf_fini(&s);
}

static void
is_request_with_values(const struct talk *t, enum fcgi_parser_result r)
{
    assert_int_equal(r, FCGI_PARSER_READY);
    expect_ready(t, 1, PAIRS);
    REPLY(t, "\1\x0a\0\0\0\x11\0\0"
             "\x0d\2FCGI_MAX_REQS34"
             "\1\x0b\0\0\0\x08\0\0\x63\0\0\0\0\0\0\0");
}

/* F9, F15: in the middle of another's head, and without harming it. */
static void
test_records_between_the_params(void **state UNUSED)
{
    size_t n = strlen(PAIRS);
    struct buf s;
    buf_init(&s, IN_MAX);
    add_begin(&s, 1, FCGI_RESPONDER, true);
    add_record(&s, FCGI_PARAMS, 1, PAIRS, 5);
    add_record(&s, FCGI_GET_VALUES, 0, "\x0d\0FCGI_MAX_REQS", 15);
    add_record(&s, FCGI_STDIN, 2, NULL, 0); /* an id that is not active */
    add_record(&s, FCGI_PARAMS, 1, &PAIRS[5], 2);
    add_record(&s, FCGI_STDIN, 2, "abc", 3);
    add_record(&s, FCGI_ABORT_REQUEST, 3, NULL, 0);
    add_record(&s, 99, 0, "x", 1);
    add_record(&s, FCGI_PARAMS, 1, &PAIRS[7], n - 7);
    add_record(&s, FCGI_PARAMS, 4, NULL, 0);
    add_record(&s, FCGI_PARAMS, 1, NULL, 0);
    feed_in_all_ways(&s, is_request_with_values);
    buf_fini(&s);
}

static void
is_request_and_refusal(const struct talk *t, enum fcgi_parser_result r)
{
    assert_int_equal(r, FCGI_PARSER_READY);
    expect_ready(t, 1, PAIRS);
    REPLY(t, "\1\3\1\2\0\x08\0\0\0\0\0\0\1\0\0\0"); /* CANT_MPX_CONN */
}

/* F19: the first request goes on. */
static void
test_a_second_request_at_the_same_time(void **state UNUSED)
{
    struct buf s;
    buf_init(&s, IN_MAX);
    add_begin(&s, 1, FCGI_RESPONDER, true);
    add_begin(&s, 258, FCGI_RESPONDER, true);
    add_params(&s, 258, "\1\1AB");
    add_record(&s, FCGI_PARAMS, 258, NULL, 0);
    add_params(&s, 1, PAIRS);
    add_record(&s, FCGI_PARAMS, 1, NULL, 0);
    feed_in_all_ways(&s, is_request_and_refusal);
    buf_fini(&s);
}

static void
is_request_after_unknown_role(const struct talk *t, enum fcgi_parser_result r)
{
    assert_int_equal(r, FCGI_PARSER_READY);
    expect_ready(t, 1, PAIRS);
    REPLY(t, "\1\3\0\x09\0\x08\0\0\0\0\0\0\3\0\0\0");
}

static void
is_unknown_role_and_closed(const struct talk *t, enum fcgi_parser_result r)
{
    assert_int_equal(r, FCGI_PARSER_CLOSE);
    REPLY(t, "\1\3\0\x09\0\x08\0\0\0\0\0\0\3\0\0\0");
}

/* F20 */
static void
test_unknown_roles(void **state UNUSED)
{
    static const unsigned roles[] = {0, 4, 256, 257, 65535};
    for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
        struct buf s;
        buf_init(&s, IN_MAX);
        add_begin(&s, 9, roles[i], true);
        add_params(&s, 9, "\1\1AB"); /* it could not know yet */
        add_record(&s, FCGI_PARAMS, 9, NULL, 0);
        add_record(&s, FCGI_STDIN, 9, NULL, 0);
        add_request(&s, 1, PAIRS);
        feed_in_all_ways(&s, is_request_after_unknown_role);
        s.len = 0;
        add_begin(&s, 9, roles[i], false);
        feed_in_all_ways(&s, is_unknown_role_and_closed);
        buf_fini(&s);
    }
}

static void
is_request_after_abort(const struct talk *t, enum fcgi_parser_result r)
{
    assert_int_equal(r, FCGI_PARSER_READY);
    expect_ready(t, 1, PAIRS);
    REPLY(t, "\1\3\0\2\0\x08\0\0\0\0\0\0\0\0\0\0");
}

static void
is_aborted_and_closed(const struct talk *t, enum fcgi_parser_result r)
{
    assert_int_equal(r, FCGI_PARSER_CLOSE);
    REPLY(t, "\1\3\0\2\0\x08\0\0\0\0\0\0\0\0\0\0");
}

/* F17 before the head is whole, and stale ones. */
static void
test_abort(void **state UNUSED)
{
    struct buf s;
    buf_init(&s, IN_MAX);
    add_record(&s, FCGI_ABORT_REQUEST, 2, NULL, 0); /* ended long ago */
    add_begin(&s, 2, FCGI_RESPONDER, true);
    add_params(&s, 2, "\1\1AB");
    add_record(&s, FCGI_ABORT_REQUEST, 2, NULL, 0);
    add_record(&s, FCGI_ABORT_REQUEST, 2, NULL, 0);
    add_record(&s, FCGI_STDIN, 2, "rest", 4);
    add_request(&s, 1, PAIRS);
    feed_in_all_ways(&s, is_request_after_abort);
    s.len = 0;
    add_begin(&s, 2, FCGI_RESPONDER, false);
    add_record(&s, FCGI_ABORT_REQUEST, 2, NULL, 0);
    feed_in_all_ways(&s, is_aborted_and_closed);
    buf_fini(&s);
}

/* -- floods ---------------------------------------------------------------- */

/* Records that mean nothing must not pile up, in a head nor between requests. */
static void
test_dropped_records_need_no_memory(void **state UNUSED)
{
    static char junk[30000];
    for (int in_head = 0; in_head <= 1; in_head++) {
        struct buf s;
        struct talk t;
        buf_init(&s, IN_MAX);
        talk_init(&t); /* in holds IN_MAX */
        if (in_head != 0) {
            add_begin(&s, 1, FCGI_RESPONDER, true);
            add_record(&s, FCGI_PARAMS, 1, PAIRS, 5);
            assert_int_equal(feed(&t, &s, 100), FCGI_PARSER_MORE);
        }
        for (int i = 0; i < 300; i++) { /* 9 MB */
            s.len = 0;
            add_padded(&s, FCGI_STDIN, 77, junk, sizeof(junk), 255);
            assert_int_equal(feed(&t, &s, 20000), FCGI_PARSER_MORE);
        }
        s.len = 0;
        if (in_head != 0) {
            add_params(&s, 1, &PAIRS[5]);
            add_record(&s, FCGI_PARAMS, 1, NULL, 0);
        }
        else {
            add_request(&s, 1, PAIRS);
        }
        assert_int_equal(feed(&t, &s, 100), FCGI_PARSER_READY);
        expect_ready(&t, 1, PAIRS);
        talk_fini(&t);
        buf_fini(&s);
    }
}

/* A peer that asks and never reads is closed, not served from memory. */
static void
test_a_full_reply_closes(void **state UNUSED)
{
    struct buf s;
    struct talk t;
    buf_init(&s, IN_MAX);
    talk_init(&t);
    for (int i = 0; i < 200; i++) {
        add_record(&s, 100, 0, NULL, 0);
    }
    enum fcgi_parser_result r = FCGI_PARSER_MORE;
    int rounds = 0;
    while (r == FCGI_PARSER_MORE && rounds++ < 100) {
        r = feed(&t, &s, IN_MAX);
    }
    assert_int_equal(r, FCGI_PARSER_CLOSE);
    assert_int_equal(rounds - 1, REPLY_MAX / 16 / 200);
    assert_true(t.reply.len <= REPLY_MAX);
    talk_fini(&t);
    buf_fini(&s);
}

/* -- anything at all -------------------------------------------------------- */

/* Records that are nearly right, some bytes changed. */
static void
make_noise(struct buf *s, uint32_t *x)
{
    s->len = 0;
    for (uint32_t n = next_random(x) % 8; n > 0; n--) {
        unsigned id = next_random(x) % 3;
        switch (next_random(x) % 6) {
        case 0:
            add_begin(s, id, next_random(x) % 5, next_random(x) % 2 != 0);
            break;
        case 1:
            add_record(s, FCGI_PARAMS, id, NULL, 0);
            break;
        case 2:
            add_padded(s, next_random(x) % 13, id, PAIRS,
                       next_random(x) % strlen(PAIRS), next_random(x) % 20);
            break;
        case 3:
            add_request(s, id, PAIRS);
            break;
        default:
            add_params(s, id, PAIRS);
            break;
        }
    }
    for (uint32_t n = next_random(x) % 4; n > 0 && s->len > 0; n--) {
        s->data[next_random(x) % s->len] = (char)next_random(x);
    }
}

static void
test_the_result_does_not_depend_on_the_pieces(void **state UNUSED)
{
    struct buf s;
    buf_init(&s, IN_MAX);
    uint32_t x = 4711;
    int ready = 0;
    for (int i = 0; i < 20000; i++) {
        struct talk whole;
        struct talk cut;
        talk_init(&whole);
        talk_init(&cut);
        make_noise(&s, &x);
        enum fcgi_parser_result r = feed(&whole, &s, IN_MAX);
        assert_int_equal(feed(&cut, &s, 1 + next_random(&x) % 16), r);
        assert_int_equal(cut.reply.len, whole.reply.len);
        assert_memory_equal(cut.reply.data, whole.reply.data, cut.reply.len);
        if (r == FCGI_PARSER_READY) {
            ready++;
            assert_int_equal(cut.parser.id, whole.parser.id);
            assert_int_equal(cut.parser.params_len, whole.parser.params_len);
            assert_memory_equal(params_of(&cut), params_of(&whole),
                                whole.parser.params_len);
            assert_int_equal(cut.parser.fault, whole.parser.fault);
            assert_int_equal(fcgi_params_check(params_of(&whole),
                                               whole.parser.params_len,
                                               VARS_LIMIT),
                             whole.parser.fault);
            size_t rest = whole.in.len - whole.parser.pos;
            assert_int_equal(cut.in.len - cut.parser.pos, rest);
            assert_memory_equal(cut.in.data + cut.parser.pos,
                                whole.in.data + whole.parser.pos, rest);
        }
        talk_fini(&whole);
        talk_fini(&cut);
    }
    assert_true(ready > 1000); /* it is not all nonsense */
    buf_fini(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_in_pieces_of_any_size),
        cmocka_unit_test(test_params_cut_at_every_byte),
        cmocka_unit_test(test_padding_of_any_length),
        cmocka_unit_test(test_ids_roles_and_the_keep_flag),
        cmocka_unit_test(test_flags_but_keep_are_ignored),
        cmocka_unit_test(test_the_limit_of_the_head),
        cmocka_unit_test(test_the_rest_of_a_head_that_is_too_large),
        cmocka_unit_test(test_the_limit_of_the_variables),
        cmocka_unit_test(test_the_variables_of_a_refused_head),
        cmocka_unit_test(test_two_requests_in_one_buffer),
        cmocka_unit_test(test_the_rest_of_an_old_record_is_skipped),
        cmocka_unit_test(test_the_same_id_again),
        cmocka_unit_test(test_the_body_of_an_ended_request),
        cmocka_unit_test(test_other_versions_are_refused),
        cmocka_unit_test(test_a_begin_of_another_size_is_refused),
        cmocka_unit_test(test_a_request_without_params_is_refused),
        cmocka_unit_test(test_other_records_of_the_request_are_refused),
        cmocka_unit_test(test_params_of_all_forms),
        cmocka_unit_test(test_params_lengths_of_one_and_four_bytes),
        cmocka_unit_test(test_params_cut_off_anywhere),
        cmocka_unit_test(test_what_is_in_names_and_values),
        cmocka_unit_test(test_lengths_that_lie),
        cmocka_unit_test(test_a_long_value_over_many_records),
        cmocka_unit_test(test_get_values),
        cmocka_unit_test(test_get_values_with_unknown_and_repeated_names),
        cmocka_unit_test(test_get_values_with_nothing_or_nonsense),
        cmocka_unit_test(test_unknown_management_types),
        cmocka_unit_test(test_records_between_the_params),
        cmocka_unit_test(test_a_second_request_at_the_same_time),
        cmocka_unit_test(test_unknown_roles),
        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_dropped_records_need_no_memory),
        cmocka_unit_test(test_a_full_reply_closes),
        cmocka_unit_test(test_the_result_does_not_depend_on_the_pieces),
    };
    return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
