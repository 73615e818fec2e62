/*
 * test_response.c - gateway/response: what may be in a head, when it leaves, and
 *                   that nothing cut short looks whole
 *
 * The transport is one of our own that notes what it is given.
 */
#include "unit.h"

#include "gateway/request.h"
#include "gateway/response.h"
#include "gateway/transport.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

/* -- the transport ---------------------------------------------------------- */

static struct {
    struct buf wire;
    int sends; /* calls of send() and send_file() */
    int ends;  /* of them with SEND_END */
    int aborts;
    int fail_at;         /* the n-th call fails ... */
    int error;           /* ... with this */
    uint64_t file_gives; /* send_file(): the file ends here */
} fake;

static int
take_blocks(const struct iovec *blocks, size_t n)
{
    fake.sends++;
    assert_int_equal(fake.ends, 0);
    assert_int_equal(fake.aborts, 0);
    if (fake.sends == fake.fail_at) {
        return fake.error;
    }
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(
            buf_add(&fake.wire, blocks[i].iov_base, blocks[i].iov_len), 0);
    }
    return 0;
}

static int
fake_send(struct request *q UNUSED, struct iovec *blocks, size_t n, int flags)
{
    int r = take_blocks(blocks, n);
    for (size_t i = 0; i < n; i++) {
        blocks[i] = (struct iovec){NULL, 0}; /* "the array may be changed" */
    }
    fake.ends += r == 0 && (flags & SEND_END) != 0;
    return r;
}

static int
fake_send_file(struct request *q UNUSED, struct iovec head, int fd,
               off_t offset, uint64_t count, uint64_t *ret_sent)
{
    if (fd < 0) {
        return -EINVAL;
    }
    int r = take_blocks(&head, 1);
    if (r < 0) {
        return r;
    }
    uint64_t left = fake.file_gives - (uint64_t)offset;
    count = count < left ? count : left;
    for (uint64_t i = 0; i < count; i++) {
        assert_int_equal(buf_add(&fake.wire, "f", 1), 0);
    }
    *ret_sent = count;
    return 0;
}

static void
fake_abort(struct request *q UNUSED)
{
    fake.aborts++;
}

static bool
fake_peer_gone(struct request *q UNUSED)
{
    return false;
}

static size_t
fake_errors(struct request *q UNUSED, const char *lines UNUSED, size_t n)
{
    return n;
}

static ssize_t
fake_read(struct request *q UNUSED, enum request_stream s UNUSED,
          void *to UNUSED, size_t size UNUSED)
{
    return 0;
}

static const struct transport fastcgi = {.name = "fake",
                                         .read = fake_read,
                                         .send = fake_send,
                                         .send_file = fake_send_file,
                                         .abort = fake_abort,
                                         .peer_gone = fake_peer_gone,
                                         .errors = fake_errors};
static struct transport cgi;
static const struct config config;
static struct request q;

static void
start(const struct transport *transport)
{
    request_init(&q, transport, &config);
}

static int
setup(void **state UNUSED)
{
    memset(&fake, 0, sizeof(fake));
    buf_init(&fake.wire, 1 << 20);
    cgi = fastcgi;
    cgi.status_first = true;
    start(&fastcgi);
    return 0;
}

static int
teardown(void **state UNUSED)
{
    request_fini(&q);
    buf_fini(&fake.wire);
    return 0;
}

/* -- short forms ------------------------------------------------------------- */

static int
status(const char *s)
{
    return response_set_status(&q.response, s, strlen(s));
}

static int
header(const char *name, const char *value)
{
    return response_add_header(&q.response, name, strlen(name), value,
                               strlen(value));
}

static int
write_text(const char *text)
{
    return response_write(&q, text, strlen(text));
}

static int
write_all(const char *text)
{
    char copy[100];
    assert_true(strlen(text) < sizeof(copy));
    memcpy(copy, text, strlen(text));
    struct iovec v = {copy, strlen(text)};
    return response_write_all(&q, &v, 1);
}

static void
expect_wire(const char *text)
{
    assert_int_equal(buf_add(&fake.wire, "", 1), 0);
    assert_string_equal(fake.wire.data, text);
    fake.wire.len--;
}

/* How it ended: DONE after one SEND_END, or ABORTED after one abort. */
static void
expect_end(enum response_state state)
{
    assert_int_equal(q.response.state, state);
    assert_int_equal(fake.ends, state == RESPONSE_DONE);
    assert_int_equal(fake.aborts, state == RESPONSE_ABORTED);
}

/* A fresh request after what this one did. */
static void
again(bool is_head)
{
    struct buf wire = fake.wire;
    wire.len = 0;
    memset(&fake, 0, sizeof(fake));
    fake.wire = wire;
    request_clear(&q);
    response_clear(&q.response, is_head);
}

/* -- status ------------------------------------------------------------------- */

/* C20, W35 */
static void
test_status_lines(void **state UNUSED)
{
    static const struct {
        const char *text;
        int result;
        int number;
    } cases[] = {
        {"200 OK", RESPONSE_OK, 200},
        {"200 ", RESPONSE_OK, 200},
        {"200", RESPONSE_OK, 200},
        {"404 Not  Found", RESPONSE_OK, 404},
        {"299 \xe9t\xe9", RESPONSE_OK, 299}, /* latin-1 */
        {"999 X", RESPONSE_OK, 999},
        {"", RESPONSE_BAD_STATUS, 0},
        {"2", RESPONSE_BAD_STATUS, 0},
        {"20", RESPONSE_BAD_STATUS, 0},
        {"2000", RESPONSE_BAD_STATUS, 0},
        {"200OK", RESPONSE_BAD_STATUS, 0},
        {"200\tOK", RESPONSE_BAD_STATUS, 0},
        {" 200 OK", RESPONSE_BAD_STATUS, 0},
        {"20x OK", RESPONSE_BAD_STATUS, 0},
        {"-20 OK", RESPONSE_BAD_STATUS, 0},
        {"OK", RESPONSE_BAD_STATUS, 0},
        {"199 X", RESPONSE_BAD_STATUS, 0},
        {"100 Continue", RESPONSE_BAD_STATUS, 0},
        {"000 X", RESPONSE_BAD_STATUS, 0},
        {"200 OK\n", RESPONSE_BAD_STATUS_CHAR, 0},
        {"200 OK\r\nX: y", RESPONSE_BAD_STATUS_CHAR, 0},
        {"200 O\tK", RESPONSE_BAD_STATUS_CHAR, 0},
        {"200 \x7f", RESPONSE_BAD_STATUS_CHAR, 0},
        {"200 \x1b[2J", RESPONSE_BAD_STATUS_CHAR, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        response_clear(&q.response, false);
        int r = status(cases[i].text);
        if (r != cases[i].result || q.response.status != cases[i].number) {
            fail_msg("\"%s\": %d, status %d", cases[i].text, r,
                     q.response.status);
        }
        assert_int_equal(q.response.state,
                         r == 0 ? RESPONSE_SET : RESPONSE_NONE);
    }
    response_clear(&q.response, false);
    assert_int_equal(response_set_status(&q.response, "200 \0", 5),
                     RESPONSE_BAD_STATUS_CHAR);
}

static void
test_a_status_without_reason_keeps_its_blank(void **state UNUSED)
{
    assert_int_equal(status("200"), 0);
    assert_int_equal(write_all("x"), 0);
    expect_wire("Status: 200 \r\nContent-Length: 1\r\n\r\nx");
}

/* -- headers -------------------------------------------------------------------- */

/* C19, C21, W37, W39 */
static void
test_headers(void **state UNUSED)
{
    static const struct {
        const char *name, *value;
        int result;
    } cases[] = {
        {"X", "", RESPONSE_OK},
        {"X-A", "b c", RESPONSE_OK},
        {"!#$%&'*+-.^_`|~09azAZ", "v", RESPONSE_OK},
        {"X", "a\tb", RESPONSE_OK},
        {"X", "\xe9", RESPONSE_OK},
        {"X", " padded ", RESPONSE_OK},
        {"", "x", RESPONSE_BAD_NAME},
        {"X:", "x", RESPONSE_BAD_NAME},
        {"X ", "x", RESPONSE_BAD_NAME},
        {" X", "x", RESPONSE_BAD_NAME},
        {"X\n", "x", RESPONSE_BAD_NAME},
        {"X\r\nY", "x", RESPONSE_BAD_NAME},
        {"X(", "x", RESPONSE_BAD_NAME},
        {"X\"", "x", RESPONSE_BAD_NAME},
        {"X/Y", "x", RESPONSE_BAD_NAME},
        {"X@", "x", RESPONSE_BAD_NAME},
        {"X[", "x", RESPONSE_BAD_NAME},
        {"X{", "x", RESPONSE_BAD_NAME},
        {"X\x7f", "x", RESPONSE_BAD_NAME},
        {"\xe9", "x", RESPONSE_BAD_NAME},
        {"X", "a\nb", RESPONSE_BAD_VALUE},
        {"X", "a\r\nSet-Cookie: x", RESPONSE_BAD_VALUE},
        {"X", "a\n b", RESPONSE_BAD_VALUE}, /* folding */
        {"X", "\x01", RESPONSE_BAD_VALUE},
        {"X", "\x1b", RESPONSE_BAD_VALUE},
        {"X", "\x7f", RESPONSE_BAD_VALUE},
        {"Connection", "close", RESPONSE_HOP_BY_HOP},
        {"connection", "close", RESPONSE_HOP_BY_HOP},
        {"KEEP-ALIVE", "x", RESPONSE_HOP_BY_HOP},
        {"Proxy-Authenticate", "x", RESPONSE_HOP_BY_HOP},
        {"Proxy-Authorization", "x", RESPONSE_HOP_BY_HOP},
        {"TE", "x", RESPONSE_HOP_BY_HOP},
        {"Trailers", "x", RESPONSE_HOP_BY_HOP},
        {"Transfer-Encoding", "chunked", RESPONSE_HOP_BY_HOP},
        {"Upgrade", "x", RESPONSE_HOP_BY_HOP},
        {"Connections", "x", RESPONSE_OK}, /* near misses */
        {"Connectio", "x", RESPONSE_OK},
        {"T", "x", RESPONSE_OK},
        {"TEE", "x", RESPONSE_OK},
        {"Upgrade-Insecure-Requests", "1", RESPONSE_OK},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        response_clear(&q.response, false);
        int r = header(cases[i].name, cases[i].value);
        if (r != cases[i].result) {
            fail_msg("%s: %s: %d", cases[i].name, cases[i].value, r);
        }
        char line[100];
        (void)snprintf(line, sizeof(line), "%s: %s\r\n", cases[i].name,
                       cases[i].value);
        size_t n = r == 0 ? strlen(line) : 0;
        assert_int_equal(q.response.fields.len, n);
        assert_memory_equal(q.response.fields.data, line, n);
    }
    assert_int_equal(response_add_header(&q.response, "X\0Y", 3, "", 0),
                     RESPONSE_BAD_NAME);
    assert_int_equal(response_add_header(&q.response, "X", 1, "a\0b", 3),
                     RESPONSE_BAD_VALUE);
}

/* C19, W40 */
static void
test_headers_that_may_come_once(void **state UNUSED)
{
    assert_int_equal(header("Content-Type", "text/plain"), 0);
    assert_int_equal(header("content-type", "text/plain"), RESPONSE_TWICE);
    assert_int_equal(header("Content-Types", "x"), 0);
    assert_int_equal(header("Location", "/a"), 0);
    assert_int_equal(header("LOCATION", "/a"), RESPONSE_TWICE);
    assert_int_equal(header("Content-Length", "5"), 0);
    assert_int_equal(header("Content-Length", "6"),
                     RESPONSE_BAD_CONTENT_LENGTH);
    assert_int_equal(header("Set-Cookie", "a=1"), 0);
    assert_int_equal(header("Set-Cookie", "b=2"), 0);
}

static void
test_an_own_status_header_does_not_count(void **state UNUSED)
{
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(header("Status", "500 No"), 0);
    assert_int_equal(header("status", "500 No"), 0);
    assert_int_equal(header("Statu", "x"), 0);
    assert_int_equal(header("Status-X", "y"), 0);
    assert_int_equal(write_all(""), 0);
    expect_wire("Status: 200 OK\r\nStatu: x\r\nStatus-X: y\r\n"
                "Content-Length: 0\r\n\r\n");
}

/* W60 */
static void
test_content_length_values(void **state UNUSED)
{
    static const struct {
        const char *value;
        int result;
        uint64_t length;
    } cases[] = {
        {"0", 0, 0},
        {"5", 0, 5},
        {" 5 ", 0, 5},
        {"9223372036854775807", 0, INT64_MAX},
        {"9223372036854775808", RESPONSE_BAD_CONTENT_LENGTH, 0},
        {"", RESPONSE_BAD_CONTENT_LENGTH, 0},
        {" ", RESPONSE_BAD_CONTENT_LENGTH, 0},
        {"-1", RESPONSE_BAD_CONTENT_LENGTH, 0},
        {"+5", RESPONSE_BAD_CONTENT_LENGTH, 0},
        {"5.0", RESPONSE_BAD_CONTENT_LENGTH, 0},
        {"5, 5", RESPONSE_BAD_CONTENT_LENGTH, 0},
        {"0x5", RESPONSE_BAD_CONTENT_LENGTH, 0},
        {"five", RESPONSE_BAD_CONTENT_LENGTH, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        response_clear(&q.response, false);
        int r = header("Content-Length", cases[i].value);
        if (r != cases[i].result) {
            fail_msg("\"%s\": %d", cases[i].value, r);
        }
        assert_true(q.response.has_length == (r == 0));
        assert_int_equal(q.response.content_length, cases[i].length);
    }
    /* The same twice is sent once. */
    again(false);
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(header("Content-Length", "1"), 0);
    assert_int_equal(header("content-length", "1"), 0);
    assert_int_equal(write_all("x"), 0);
    expect_wire("Status: 200 OK\r\nContent-Length: 1\r\n\r\nx");
}

static void
test_every_error_has_a_message(void **state UNUSED)
{
    for (int e = RESPONSE_OK; e < RESPONSE_ERROR_MAX; e++) {
        const char *text = response_strerror((enum response_error)e);
        assert_non_null(text);
        assert_true(strlen(text) > 5);
        assert_string_not_equal(text, "unknown error");
    }
}

/* -- the order of the head -------------------------------------------------------- */

/* C18, C26; HAProxy makes 201 and 307 a 302 where Status comes first, busybox
 * knows it nowhere but there. */
static void
test_order_of_location_and_status(void **state UNUSED)
{
    assert_int_equal(status("302 Found"), 0);
    assert_int_equal(header("X-A", "1"), 0);
    assert_int_equal(header("Location", "/x"), 0);
    assert_int_equal(write_all(""), 0);
    expect_wire("Location: /x\r\nStatus: 302 Found\r\nX-A: 1\r\n"
                "Content-Length: 0\r\n\r\n");
    request_fini(&q);
    start(&cgi);
    again(false);
    assert_int_equal(status("302 Found"), 0);
    assert_int_equal(header("X-A", "1"), 0);
    assert_int_equal(header("Location", "/x"), 0);
    assert_int_equal(write_all(""), 0);
    expect_wire("Status: 302 Found\r\nLocation: /x\r\nX-A: 1\r\n"
                "Content-Length: 0\r\n\r\n");
}

/* C15 */
static void
test_nph(void **state UNUSED)
{
    request_fini(&q);
    cgi.is_nph = true;
    start(&cgi);
    assert_int_equal(status("404 Not Found"), 0);
    assert_int_equal(header("X-A", "1"), 0);
    assert_int_equal(write_text("gone"), 0);
    assert_int_equal(response_finish(&q), 0);
    expect_wire("HTTP/1.1 404 Not Found\r\nX-A: 1\r\nConnection: close\r\n\r\n"
                "gone");
}

/* C26, W41: CGI's own fields first, all others in the order they came. */
static void
test_order_of_the_other_headers(void **state UNUSED)
{
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(header("Set-Cookie", "b=2"), 0);
    assert_int_equal(header("X-A", "1"), 0);
    assert_int_equal(header("content-TYPE", "text/plain"), 0);
    assert_int_equal(header("Set-Cookie", "a=1"), 0);
    assert_int_equal(write_all(""), 0);
    expect_wire("Status: 200 OK\r\ncontent-TYPE: text/plain\r\n"
                "Set-Cookie: b=2\r\nX-A: 1\r\nSet-Cookie: a=1\r\n"
                "Content-Length: 0\r\n\r\n");
}

static void
test_reset_forgets_everything(void **state UNUSED)
{
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(header("Location", "/x"), 0);
    assert_int_equal(header("Content-Type", "a/b"), 0);
    assert_int_equal(header("Content-Length", "77"), 0);
    response_reset(&q.response);
    assert_int_equal(q.response.state, RESPONSE_NONE);
    assert_int_equal(status("500 No"), 0);
    assert_int_equal(header("Location", "/y"), 0);
    assert_int_equal(header("Content-Type", "c/d"), 0);
    assert_int_equal(write_all("z"), 0);
    expect_wire("Location: /y\r\nStatus: 500 No\r\nContent-Type: c/d\r\n"
                "Content-Length: 1\r\n\r\nz");
}

/* -- when the head leaves ------------------------------------------------------------ */

/* W42: held until the first non-empty block. */
static void
test_the_head_waits_for_a_block(void **state UNUSED)
{
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(write_text(""), 0);
    assert_int_equal(write_text(""), 0);
    assert_false(response_head_sent(&q.response));
    assert_int_equal(fake.sends, 0);
    response_reset(&q.response); /* so it can still be replaced */
    assert_int_equal(status("404 No"), 0);
    assert_int_equal(write_text("a"), 0);
    assert_true(response_head_sent(&q.response));
    expect_wire("Status: 404 No\r\n\r\na");
    assert_int_equal(fake.sends, 1); /* head and block together */
    assert_int_equal(write_text(""), 0);
    assert_int_equal(fake.sends, 1);
    assert_int_equal(write_text("b"), 0);
    expect_wire("Status: 404 No\r\n\r\nab");
    assert_int_equal(fake.sends, 2); /* W52: each block at once */
    assert_int_equal(response_finish(&q), 0);
    expect_end(RESPONSE_DONE);
}

static void
test_a_response_without_blocks(void **state UNUSED)
{
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(header("X", "1"), 0);
    assert_int_equal(response_finish(&q), 0);
    expect_wire("Status: 200 OK\r\nX: 1\r\n\r\n");
    assert_int_equal(fake.sends, 1);
    expect_end(RESPONSE_DONE);
    assert_int_equal(response_finish(&q), 0); /* again is nothing */
    assert_int_equal(fake.sends, 1);
}

static void
test_all_in_one_send(void **state UNUSED)
{
    char a[] = "one";
    char b[] = "two";
    struct iovec v[] = {{a, 3}, {NULL, 0}, {b, 3}};
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(response_write_all(&q, v, 3), 0);
    expect_wire("Status: 200 OK\r\nContent-Length: 6\r\n\r\nonetwo");
    assert_int_equal(fake.sends, 1);
    expect_end(RESPONSE_DONE);
    assert_ptr_equal(v[0].iov_base, a); /* the blocks are only read */
    assert_int_equal(v[2].iov_len, 3);
}

static void
test_very_many_blocks_at_once(void **state UNUSED)
{
    for (size_t n = 14; n <= 17; n++) { /* around the array on the stack */
        struct iovec v[17];
        char byte = 'x';
        again(false);
        for (size_t i = 0; i < n; i++) {
            v[i] = (struct iovec){&byte, 1};
        }
        assert_int_equal(status("200 OK"), 0);
        assert_int_equal(response_write_all(&q, v, n), 0);
        char want[100];
        (void)snprintf(want, sizeof(want),
                       "Status: 200 OK\r\nContent-Length: %zu\r\n\r\n%.*s", n,
                       (int)n, "xxxxxxxxxxxxxxxxxxxx");
        expect_wire(want);
        assert_int_equal(fake.sends, 1);
        expect_end(RESPONSE_DONE);
    }
    again(false);
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(response_write_all(&q, NULL, 0), 0);
    expect_wire("Status: 200 OK\r\nContent-Length: 0\r\n\r\n");
}

static void
test_write_all_after_blocks(void **state UNUSED)
{
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(write_text("a"), 0);
    assert_int_equal(write_all("b"), 0);
    expect_wire("Status: 200 OK\r\n\r\nab"); /* too late for a length */
    expect_end(RESPONSE_DONE);
}

static void
test_nothing_can_be_sent_without_a_status(void **state UNUSED)
{
    uint64_t sent = 4711;
    assert_int_equal(write_text("x"), -EPIPE);
    assert_int_equal(write_all("x"), -EPIPE);
    assert_int_equal(response_send_file(&q, 0, 0, 1, &sent), -EPIPE);
    assert_int_equal(sent, 0);
    assert_int_equal(response_finish(&q), -EPIPE);
    assert_int_equal(fake.sends, 0);
}

static void
test_nothing_can_be_sent_after_the_end(void **state UNUSED)
{
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(write_all("x"), 0);
    assert_int_equal(write_text("y"), -EPIPE);
    assert_int_equal(write_all("y"), -EPIPE);
    response_abort(&q);
    response_error(&q, "500 No", "no", NULL);
    expect_end(RESPONSE_DONE);
    assert_int_equal(fake.sends, 1);
}

/* -- no body ------------------------------------------------------------------------- */

/* C13, W61 */
static void
test_where_no_body_may_be(void **state UNUSED)
{
    static const struct {
        const char *status;
        bool is_head, has_body;
    } cases[] = {
        {"200 OK", true, false},  {"404 No", true, false},
        {"204 No", false, false}, {"304 No", false, false},
        {"205 Yes", false, true}, {"203 Yes", false, true},
        {"305 Yes", false, true}, {"200 Yes", false, true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char head[40];
        (void)snprintf(head, sizeof(head), "Status: %s\r\n", cases[i].status);
        for (int way = 0; way < 2; way++) {
            again(cases[i].is_head);
            assert_int_equal(status(cases[i].status), 0);
            char want[100];
            if (way == 0) {
                int r = write_text("body");
                assert_int_equal(r, cases[i].has_body ? 0 : RESPONSE_FULL);
                assert_int_equal(response_finish(&q), 0);
                (void)snprintf(want, sizeof(want), "%s\r\n%s", head,
                               cases[i].has_body ? "body" : "");
            }
            else {
                assert_int_equal(write_all("body"), 0);
                (void)snprintf(want, sizeof(want), "%s%s\r\n%s", head,
                               cases[i].has_body ? "Content-Length: 4\r\n" : "",
                               cases[i].has_body ? "body" : "");
            }
            expect_wire(want);
            assert_int_equal(fake.sends, way == 0 && cases[i].has_body ? 2 : 1);
            expect_end(RESPONSE_DONE);
        }
    }
}

static void
test_head_keeps_the_applications_length(void **state UNUSED)
{
    again(true);
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(header("Content-Length", "1000"), 0);
    assert_int_equal(write_text("a"), RESPONSE_FULL);
    assert_int_equal(response_finish(&q), 0); /* not too short */
    expect_wire("Status: 200 OK\r\nContent-Length: 1000\r\n\r\n");
    expect_end(RESPONSE_DONE);
}

/* -- Content-Length ------------------------------------------------------------------ */

/* W58: never more than promised, in one block or in several. */
static void
test_too_much_is_cut(void **state UNUSED)
{
    for (int n = 3; n <= 6; n++) {
        again(false);
        assert_int_equal(status("200 OK"), 0);
        assert_int_equal(header("Content-Length", "5"), 0);
        int r = response_write(&q, "abcdef", (size_t)n);
        assert_int_equal(r, n < 5 ? 0 : RESPONSE_FULL);
        assert_true(q.response.cut == (n > 5));
        if (n < 5) {
            assert_int_equal(response_write(&q, &"def"[n - 3], 3),
                             RESPONSE_FULL);
            assert_true(q.response.cut);
        }
        assert_int_equal(write_text("more"), RESPONSE_FULL);
        assert_true(q.response.cut);
        assert_int_equal(response_finish(&q), 0);
        assert_int_equal(q.response.sent, 5);
        assert_int_equal(fake.wire.len, 16 + 19 + 2 + 5);
        expect_end(RESPONSE_DONE);
    }
    again(false);
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(header("Content-Length", "5"), 0);
    assert_int_equal(write_all("abcdefgh"), 0);
    assert_true(q.response.cut);
    expect_wire("Status: 200 OK\r\nContent-Length: 5\r\n\r\nabcde");
    expect_end(RESPONSE_DONE);
}

/* W59: what is too short must not look whole. */
static void
test_too_little_is_aborted(void **state UNUSED)
{
    for (int way = 0; way < 3; way++) {
        again(false);
        assert_int_equal(status("200 OK"), 0);
        assert_int_equal(header("Content-Length", "5"), 0);
        if (way == 0) {
            assert_int_equal(write_text("abcd"), 0);
            assert_int_equal(response_finish(&q), -EMSGSIZE);
        }
        else if (way == 1) {
            assert_int_equal(write_all("abcd"), -EMSGSIZE);
        }
        else {
            assert_int_equal(response_finish(&q), -EMSGSIZE);
        }
        expect_wire(way == 2 ? "Status: 200 OK\r\nContent-Length: 5\r\n\r\n"
                             : "Status: 200 OK\r\nContent-Length: 5\r\n\r\n"
                               "abcd");
        expect_end(RESPONSE_ABORTED);
        assert_int_equal(q.exit_status, 1);
        assert_int_equal(q.result, REQUEST_FAILED);
    }
}

static void
test_a_length_of_zero(void **state UNUSED)
{
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(header("Content-Length", "0"), 0);
    assert_int_equal(write_text("x"), RESPONSE_FULL);
    assert_true(q.response.cut);
    assert_int_equal(response_finish(&q), 0);
    expect_wire("Status: 200 OK\r\nContent-Length: 0\r\n\r\n");
    expect_end(RESPONSE_DONE);
}

/* -- files ----------------------------------------------------------------------------- */

static void
test_a_file(void **state UNUSED)
{
    uint64_t sent = 4711;
    fake.file_gives = 10;
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(header("Content-Length", "8"), 0);
    assert_int_equal(response_send_file(&q, 0, 2, 100, &sent), RESPONSE_FULL);
    assert_int_equal(sent, 8);
    assert_int_equal(fake.sends, 1); /* the head with it */
    assert_int_equal(response_finish(&q), 0);
    expect_wire("Status: 200 OK\r\nContent-Length: 8\r\n\r\nffffffff");
    expect_end(RESPONSE_DONE);
}

static void
test_a_file_shorter_than_promised(void **state UNUSED)
{
    uint64_t sent = 4711;
    fake.file_gives = 3;
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(header("Content-Length", "8"), 0);
    assert_int_equal(response_send_file(&q, 0, 0, 8, &sent), 0);
    assert_int_equal(sent, 3);
    assert_int_equal(response_finish(&q), -EMSGSIZE);
    expect_end(RESPONSE_ABORTED);
}

static void
test_a_file_after_blocks(void **state UNUSED)
{
    uint64_t sent = 4711;
    fake.file_gives = 3;
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(write_text("a"), 0);
    assert_int_equal(response_send_file(&q, 0, 0, 3, &sent), 0);
    assert_int_equal(response_finish(&q), 0);
    expect_wire("Status: 200 OK\r\n\r\nafff");
    expect_end(RESPONSE_DONE);
}

static void
test_a_file_that_must_be_read(void **state UNUSED)
{
    uint64_t sent = 4711;
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(response_send_file(&q, -1, 0, 3, &sent), -EINVAL);
    assert_int_equal(sent, 0);
    assert_false(response_head_sent(&q.response));
    assert_int_equal(write_text("fff"), 0); /* goes on as if nothing was */
    expect_wire("Status: 200 OK\r\n\r\nfff");
    assert_int_equal(fake.aborts, 0);
}

static void
test_a_file_where_no_body_may_be(void **state UNUSED)
{
    uint64_t sent = 4711;
    again(true);
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(header("Content-Length", "8"), 0);
    assert_int_equal(response_send_file(&q, 0, 0, 8, &sent), RESPONSE_FULL);
    assert_int_equal(sent, 0);
    assert_int_equal(response_finish(&q), 0);
    expect_wire("Status: 200 OK\r\nContent-Length: 8\r\n\r\n");
    expect_end(RESPONSE_DONE);
}

/* -- a peer that goes away --------------------------------------------------------------- */

static void
test_a_failed_send_ends_the_response(void **state UNUSED)
{
    static const int errors[] = {-EPIPE, -ECONNRESET, -ETIMEDOUT,
                                 -ECONNABORTED};
    for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
        for (int at = 1; at <= 3; at++) {
            again(false);
            fake.fail_at = at;
            fake.error = errors[i];
            assert_int_equal(status("200 OK"), 0);
            int r = write_text("a");
            assert_int_equal(r, at == 1 ? errors[i] : 0);
            r = write_text("b");
            assert_int_equal(r, at == 1 ? -EPIPE : at == 2 ? errors[i] : 0);
            r = response_finish(&q);
            assert_int_equal(r, at == 3 ? errors[i] : -EPIPE);
            expect_end(RESPONSE_ABORTED);
            assert_int_equal(fake.sends, at); /* nothing is tried again */
            assert_int_equal(q.exit_status, 1);
            assert_int_equal(q.result, REQUEST_CLIENT_GONE);
        }
    }
}

/* P8: what fails on this side is no fault of the client. */
static void
test_a_send_that_fails_here(void **state UNUSED)
{
    static const int errors[] = {-EIO, -ENOMEM, -ECANCELED, -ENOSPC, -EMSGSIZE};
    for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
        uint64_t sent;
        again(false);
        fake.fail_at = 1;
        fake.error = errors[i];
        assert_int_equal(status("200 OK"), 0);
        assert_int_equal(response_send_file(&q, 0, 0, 3, &sent), errors[i]);
        expect_end(RESPONSE_ABORTED);
        assert_int_equal(q.result, REQUEST_FAILED);
    }
}

/* A peer that knows the length may leave when it has the whole body: only the
 * end cannot be sent. Without a length the end is what makes it whole. */
static void
test_a_peer_that_leaves_before_the_end(void **state UNUSED)
{
    for (int whole = 0; whole <= 1; whole++) {
        uint64_t sent;
        again(false);
        fake.fail_at = 2;
        fake.error = -EPIPE;
        fake.file_gives = 8;
        assert_int_equal(status("200 OK"), 0);
        assert_int_equal(whole == 1 ? header("Content-Length", "8") : 0, 0);
        assert_int_equal(response_send_file(&q, 0, 0, 8, &sent),
                         whole ? RESPONSE_FULL : 0);
        assert_int_equal(response_finish(&q), whole ? 0 : -EPIPE);
        assert_int_equal(q.response.state,
                         whole ? RESPONSE_DONE : RESPONSE_ABORTED);
        assert_int_equal(q.result,
                         whole ? REQUEST_SERVED : REQUEST_CLIENT_GONE);
        assert_int_equal(fake.sends, 2);
    }
    /* A short body is not whole, and an error of this side is no leaving. */
    for (int way = 0; way <= 1; way++) {
        uint64_t sent;
        again(false);
        fake.fail_at = 2;
        fake.error = way == 0 ? -EPIPE : -EIO;
        fake.file_gives = way == 0 ? 7 : 8;
        assert_int_equal(status("200 OK"), 0);
        assert_int_equal(header("Content-Length", "8"), 0);
        assert_int_equal(response_send_file(&q, 0, 0, 8, &sent),
                         way == 0 ? 0 : RESPONSE_FULL);
        assert_true(response_finish(&q) < 0);
        expect_end(RESPONSE_ABORTED);
        assert_int_equal(q.result, REQUEST_FAILED);
    }
}

static void
test_abort_happens_once(void **state UNUSED)
{
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(write_text("a"), 0);
    response_abort(&q);
    response_abort(&q);
    expect_end(RESPONSE_ABORTED);
    assert_false(response_head_sent(&q.response));
    assert_int_equal(q.exit_status, 1);
}

static void *
write_from_elsewhere(void *result)
{
    *(int *)result = write_text("x");
    return NULL;
}

static void
test_only_the_requests_thread_may_write(void **state UNUSED)
{
    int r = 0;
    pthread_t other;
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(pthread_create(&other, NULL, write_from_elsewhere, &r), 0);
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_int_equal(r, -EBUSY);
    assert_int_equal(fake.sends, 0);
    assert_int_equal(write_all("y"), 0);
    expect_end(RESPONSE_DONE);
}

/* -- error pages --------------------------------------------------------------------------- */

/* C16, W63 */
static void
test_an_error_page_replaces_a_held_head(void **state UNUSED)
{
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(header("Set-Cookie", "a=1"), 0);
    assert_int_equal(header("Content-Length", "9999"), 0);
    response_error(&q, "500 Internal Server Error", "It <b>broke</b> & how.",
                   "abc123");
    assert_int_equal(buf_add(&fake.wire, "", 1), 0);
    const char *wire = fake.wire.data;
    assert_int_equal(strncmp(wire, "Status: 500 Internal Server Error\r\n", 35),
                     0);
    assert_null(strstr(wire, "Set-Cookie"));
    assert_null(strstr(wire, "9999"));
    assert_non_null(strstr(wire, "Content-Type: text/html; charset=utf-8\r\n"));
    assert_non_null(strstr(wire, "It &lt;b&gt;broke&lt;/b&gt; &amp; how."));
    assert_non_null(strstr(wire, "Error id: <code>abc123</code>"));
    const char *body = strstr(wire, "\r\n\r\n");
    assert_non_null(body);
    char length[64];
    (void)snprintf(length, sizeof(length), "Content-Length: %zu\r\n",
                   strlen(body + 4));
    assert_non_null(strstr(wire, length));
    assert_int_equal(fake.sends, 1);
    assert_int_equal(q.exit_status, 1);
    assert_int_equal(q.result, REQUEST_FAILED);
    expect_end(RESPONSE_DONE);
}

static void
test_an_error_page_without_id(void **state UNUSED)
{
    response_error(&q, "404 Not Found", "Nothing here.", NULL);
    assert_int_equal(buf_add(&fake.wire, "", 1), 0);
    assert_null(strstr(fake.wire.data, "Error id"));
    assert_non_null(strstr(fake.wire.data, "Nothing here."));
    assert_int_equal(q.exit_status, 0); /* not a failure of ours */
    assert_int_equal(q.result, REQUEST_SERVED);
    expect_end(RESPONSE_DONE);
}

/* W64 */
static void
test_an_error_after_the_head_aborts(void **state UNUSED)
{
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(write_text("part"), 0);
    response_error(&q, "500 No", "no", "abc");
    expect_wire("Status: 200 OK\r\n\r\npart");
    expect_end(RESPONSE_ABORTED);
    assert_int_equal(q.exit_status, 1);
    assert_int_equal(q.result, REQUEST_FAILED);
    again(false);
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(write_text("part"), 0);
    response_error(&q, "413 Content Too Large", "too large", NULL);
    expect_end(RESPONSE_ABORTED);
    assert_int_equal(q.exit_status, 1);
    assert_int_equal(q.result, REQUEST_CLIENT_GONE);
}

static void
test_an_error_page_for_head_has_no_body(void **state UNUSED)
{
    again(true);
    response_error(&q, "500 No", "no", "abc");
    assert_true(fake.wire.len > 4);
    assert_memory_equal(fake.wire.data + fake.wire.len - 4, "\r\n\r\n", 4);
    expect_end(RESPONSE_DONE);
}

static void
test_an_error_page_nobody_takes(void **state UNUSED)
{
    fake.fail_at = 1;
    fake.error = -EPIPE;
    response_error(&q, "500 No", "no", "abc");
    expect_end(RESPONSE_ABORTED);
    assert_int_equal(q.result, REQUEST_FAILED);
    again(false);
    fake.fail_at = 1;
    fake.error = -EPIPE;
    response_error(&q, "404 No", "no", "abc");
    assert_int_equal(q.result, REQUEST_CLIENT_GONE);
}

/* -- the next request ------------------------------------------------------------------------ */

static void
test_nothing_reaches_the_next_response(void **state UNUSED)
{
    static char large[100000];
    memset(large, 'x', sizeof(large));
    assert_int_equal(status("500 No"), 0);
    assert_int_equal(header("Location", "/x"), 0);
    assert_int_equal(header("Content-Length", "3"), 0);
    assert_int_equal(
        response_add_header(&q.response, "X", 1, large, sizeof(large)), 0);
    assert_int_equal(write_text("ab"), 0);
    response_abort(&q);
    again(false);
    assert_true(q.response.fields.cap <= 65536);
    assert_int_equal(q.exit_status, 0);
    assert_int_equal(q.result, REQUEST_SERVED);
    assert_int_equal(status("200 OK"), 0);
    assert_int_equal(write_all("c"), 0);
    expect_wire("Status: 200 OK\r\nContent-Length: 1\r\n\r\nc");
    expect_end(RESPONSE_DONE);
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_status_lines),
        TEST(test_a_status_without_reason_keeps_its_blank),
        TEST(test_headers),
        TEST(test_headers_that_may_come_once),
        TEST(test_an_own_status_header_does_not_count),
        TEST(test_content_length_values),
        TEST(test_every_error_has_a_message),
        TEST(test_order_of_location_and_status),
        TEST(test_order_of_the_other_headers),
        TEST(test_nph),
        TEST(test_reset_forgets_everything),
        TEST(test_the_head_waits_for_a_block),
        TEST(test_a_response_without_blocks),
        TEST(test_all_in_one_send),
        TEST(test_very_many_blocks_at_once),
        TEST(test_write_all_after_blocks),
        TEST(test_nothing_can_be_sent_without_a_status),
        TEST(test_nothing_can_be_sent_after_the_end),
        TEST(test_where_no_body_may_be),
        TEST(test_head_keeps_the_applications_length),
        TEST(test_too_much_is_cut),
        TEST(test_too_little_is_aborted),
        TEST(test_a_length_of_zero),
        TEST(test_a_file),
        TEST(test_a_file_shorter_than_promised),
        TEST(test_a_file_after_blocks),
        TEST(test_a_file_that_must_be_read),
        TEST(test_a_file_where_no_body_may_be),
        TEST(test_a_failed_send_ends_the_response),
        TEST(test_a_send_that_fails_here),
        TEST(test_a_peer_that_leaves_before_the_end),
        TEST(test_abort_happens_once),
        TEST(test_only_the_requests_thread_may_write),
        TEST(test_an_error_page_replaces_a_held_head),
        TEST(test_an_error_page_without_id),
        TEST(test_an_error_after_the_head_aborts),
        TEST(test_an_error_page_for_head_has_no_body),
        TEST(test_an_error_page_nobody_takes),
        TEST(test_nothing_reaches_the_next_response),
    };
    return cmocka_run_group_tests_name("response", tests, NULL, NULL);
}
