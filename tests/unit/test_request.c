/*
 * test_request.c - gateway/request: what is refused before the application is
 *                  called, the bounds of the body, and the lines of the log
 */
#include "unit.h"

#include "base/clock.h"
#include "gateway/request.h"
#include "gateway/transport.h"
#include "transport/wait.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>

/* -- the transport ---------------------------------------------------------- */

static struct {
    const char *body; /* what is left of STDIN */
    const char *data; /* of DATA */
    size_t piece;     /* > 0: bytes one read gives */
    size_t deaf;      /* > 0: bytes of errors from which on none are taken */
    int error;        /* after the body; 0 = its end */
    int reads;
    int64_t taken; /* what take_body() says */
    struct buf wire, errors;
} fake;

static ssize_t
fake_read(struct request *q UNUSED, enum request_stream s, void *to,
          size_t size)
{
    const char **from = s == STREAM_DATA ? &fake.data : &fake.body;
    size_t n = strlen(*from);
    fake.reads++;
    if (n == 0) {
        return fake.error;
    }
    n = n < size ? n : size;
    n = fake.piece > 0 && n > fake.piece ? fake.piece : n;
    memcpy(to, *from, n);
    *from += n;
    return (ssize_t)n;
}

static int64_t
fake_take_body(struct request *q UNUSED)
{
    return fake.taken;
}

static int
fake_send(struct request *q UNUSED, struct iovec *blocks, size_t n,
          int flags UNUSED)
{
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(
            buf_add(&fake.wire, blocks[i].iov_base, blocks[i].iov_len), 0);
    }
    return 0;
}

static void
fake_abort(struct request *q UNUSED)
{
}

static bool
fake_peer_gone(struct request *q UNUSED)
{
    return fake.error != 0;
}

static size_t
fake_errors(struct request *q UNUSED, const char *lines, size_t n)
{
    n = fake.deaf > 0 && n > fake.deaf - 1 ? fake.deaf - 1 : n;
    assert_int_equal(buf_add(&fake.errors, lines, n), 0);
    return n;
}

static const struct transport transport = {.name = "fake",
                                           .read = fake_read,
                                           .take_body = fake_take_body,
                                           .send = fake_send,
                                           .abort = fake_abort,
                                           .peer_gone = fake_peer_gone,
                                           .errors = fake_errors};
static struct config config;
static struct request q;

static int
setup(void **state UNUSED)
{
    memset(&fake, 0, sizeof(fake));
    memset(&config, 0, sizeof(config));
    fake.body = fake.data = "";
    buf_init(&fake.wire, 1 << 20);
    buf_init(&fake.errors, 1 << 20);
    request_init(&q, &transport, &config);
    return 0;
}

static int
teardown(void **state UNUSED)
{
    request_fini(&q);
    buf_fini(&fake.wire);
    buf_fini(&fake.errors);
    return 0;
}

static void
add(const char *name, const char *value)
{
    assert_int_equal(
        params_add(&q.params, name, strlen(name), value, strlen(value)), 0);
}

/* Prepares a POST with these variables more. */
static int
prepare(const char *name, const char *value)
{
    add("REQUEST_METHOD", "POST");
    if (name != NULL) {
        add(name, value);
    }
    return request_prepare(&q);
}

static void
expect_status(const char *status)
{
    assert_true(fake.wire.len > strlen(status));
    assert_memory_equal(fake.wire.data, status, strlen(status));
}

/* All of the body in reads of size, then what ended it. */
static void
expect_body(const char *body, size_t size, int end)
{
    char got[100];
    size_t n = 0;
    ssize_t r;
    while ((r = request_read(&q, STREAM_STDIN, got + n, size)) > 0) {
        assert_true((size_t)r <= size);
        n += (size_t)r;
    }
    assert_int_equal(r, end);
    got[n] = '\0';
    assert_string_equal(got, body);
    /* Both the end and an error stay; the transport is not asked again. */
    int reads = fake.reads;
    assert_int_equal(request_read(&q, STREAM_STDIN, got, size), end);
    assert_int_equal(fake.reads, reads);
}

/* -- before the application --------------------------------------------------- */

static void
test_refusals(void **state UNUSED)
{
    assert_int_equal(request_prepare(&q), -EBADMSG);
    expect_status("Status: 400 Bad Request\r\n");
    assert_int_equal(q.response.state, RESPONSE_DONE);
    fake.wire.len = 0;
    request_clear(&q);
    config.mount = "/app";
    assert_int_equal(prepare("PATH_INFO", "/apple"), -EBADMSG);
    expect_status("Status: 404 Not Found\r\n");
    assert_int_equal(q.exit_status, 0);
    fake.wire.len = 0;
    request_clear(&q);
    assert_int_equal(prepare("PATH_INFO", "/app/x"), 0);
    assert_int_equal(fake.wire.len, 0);
}

/* --limit-body where the length is announced. */
static void
test_a_body_that_is_too_large(void **state UNUSED)
{
    static const struct {
        const char *length;
        int result;
    } cases[] = {
        {"0", 0},
        {"9", 0},
        {"10", 0},
        {"11", -EBADMSG},
        {"9223372036854775807", -EBADMSG},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        config.limit_body = 10;
        fake.wire.len = 0;
        request_clear(&q);
        assert_int_equal(prepare("CONTENT_LENGTH", cases[i].length),
                         cases[i].result);
        if (cases[i].result < 0) {
            expect_status("Status: 413 ");
        }
        config.limit_body = 0;
        request_clear(&q);
        assert_int_equal(prepare("CONTENT_LENGTH", cases[i].length), 0);
    }
    assert_int_equal(fake.reads, 0); /* 413 without reading any of it */
}

static void
test_head(void **state UNUSED)
{
    add("REQUEST_METHOD", "HEAD");
    assert_int_equal(request_prepare(&q), 0);
    assert_true(q.response.is_head);
    request_clear(&q);
    assert_int_equal(prepare(NULL, NULL), 0);
    assert_false(q.response.is_head);
}

/* W28, W73, X5, X8: where the end of the body is certain; that it was sent in
 * chunks is not to be seen any more. */
static void
test_framing(void **state UNUSED)
{
    static const struct {
        bool is_cgi;
        const char *length, *encoding, *software;
        int result;
        bool terminated, unsized;
    } cases[] = {
        {false, "-1", NULL, "Caddy/2", 0, true, true},
        {false, "", NULL, "nginx/1.22.1", 0, true, false},
        {false, "5", NULL, NULL, 0, true, false},
        {false, NULL, NULL, NULL, 0, true, false},
        {false, "-1", "chunked", "Caddy/2", 0, true, true},
        {false, "", "chunked", "nginx/1.22.1", 0, true, true},
        {false, "5", "chunked", "nginx/1.22.1", 0, true, false},
        {true, "5", NULL, NULL, 0, true, false},
        {true, "0", NULL, NULL, 0, true, false},
        {true, NULL, NULL, NULL, 0, false, false},
        {true, NULL, "chunked", "busybox httpd/1.35.0", -EBADMSG, false, false},
        {true, NULL, "chunked", NULL, -EBADMSG, false, false},
        {true, NULL, "chunked", "Apache/2.4 (Debian)", 0, true, true},
        {true, "-1", NULL, "Apache/2.4 (Debian)", 0, false, false},
        {true, "5", "chunked", "busybox httpd/1.35.0", 0, true, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        fake.wire.len = 0;
        request_clear(&q);
        q.is_cgi = cases[i].is_cgi;
        if (cases[i].encoding != NULL) {
            add("HTTP_TRANSFER_ENCODING", cases[i].encoding);
        }
        if (cases[i].software != NULL) {
            add("SERVER_SOFTWARE", cases[i].software);
        }
        const char *name = cases[i].length != NULL ? "CONTENT_LENGTH" : NULL;
        if (prepare(name, cases[i].length) != cases[i].result ||
            q.input_terminated != cases[i].terminated ||
            q.is_unsized != cases[i].unsized ||
            params_get(&q.params, "HTTP_TRANSFER_ENCODING") != NULL) {
            fail_msg("case %zu", i);
        }
        if (cases[i].result < 0) {
            expect_status("Status: 411 ");
        }
    }
}

/* -- the body ------------------------------------------------------------------ */

/* W28: what take_body() says becomes the length, or the answer. */
static void
test_unsized(void **state UNUSED)
{
    static const struct {
        int64_t taken;
        const char *answer;
    } cases[] = {{0, NULL},
                 {INT64_MAX, NULL},
                 {-EMSGSIZE, "Status: 413 "},
                 {-ETIMEDOUT, "Status: 408 "},
                 {-ECANCELED, "Status: 504 "},
                 {-ENOSPC, "Status: 500 "},
                 {-EPIPE, ""},
                 {-ECONNABORTED, ""}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *answer = cases[i].answer;
        fake.wire.len = 0;
        fake.taken = cases[i].taken;
        request_clear(&q);
        assert_int_equal(prepare("CONTENT_LENGTH", "-1"), 0);
        assert_true(q.is_unsized);
        assert_int_equal(request_take_body(&q), answer == NULL ? 0 : -EBADMSG);
        assert_int_equal(params_length(&q.params, "CONTENT_LENGTH"),
                         answer == NULL ? cases[i].taken : -1);
        assert_int_equal(q.content_length,
                         answer == NULL ? cases[i].taken : -1);
        if (answer != NULL && answer[0] != '\0') {
            expect_status(answer);
        }
        else if (answer != NULL) {
            assert_int_equal(q.response.state, RESPONSE_ABORTED);
        }
    }
    request_clear(&q);
    assert_int_equal(prepare(NULL, NULL), 0);
    assert_false(q.is_unsized);
}

/* W25, W26, C2 */
static void
test_never_more_than_content_length(void **state UNUSED)
{
    static const size_t sizes[] = {1, 2, 3, 4, 50};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        request_clear(&q);
        fake.body = "abcdefgh";
        assert_int_equal(prepare("CONTENT_LENGTH", "3"), 0);
        expect_body("abc", sizes[i], 0);
        assert_string_equal(fake.body, "defgh"); /* not even taken */
    }
    request_clear(&q);
    fake.reads = 0;
    assert_int_equal(prepare("CONTENT_LENGTH", "0"), 0);
    expect_body("", 10, 0);
    assert_int_equal(fake.reads, 0);
}

static void
test_reads_return_what_is_there(void **state UNUSED)
{
    /* W29: no waiting for a full buffer. */
    char to[10];
    fake.body = "abc";
    fake.piece = 2;
    assert_int_equal(prepare("CONTENT_LENGTH", "3"), 0);
    assert_int_equal(request_read(&q, STREAM_STDIN, to, sizeof(to)), 2);
    assert_int_equal(request_read(&q, STREAM_STDIN, to, 0), 0); /* W23 */
    assert_int_equal(request_read(&q, STREAM_STDIN, to, sizeof(to)), 1);
    assert_int_equal(request_read(&q, STREAM_STDIN, to, sizeof(to)), 0);
}

/* W27, F26: an end that comes too early is an error, and stays one. */
static void
test_a_body_cut_short(void **state UNUSED)
{
    static const struct {
        int error, result;
    } cases[] = {
        {0, -ENODATA},
        {-EPIPE, -EPIPE},
        {-ECONNRESET, -ECONNRESET},
        {-ECONNABORTED, -ECONNABORTED},
        {-ETIMEDOUT, -ETIMEDOUT},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        request_clear(&q);
        fake.body = "abc";
        fake.error = cases[i].error;
        assert_int_equal(prepare("CONTENT_LENGTH", "4"), 0);
        expect_body("abc", 2, cases[i].result);
        fake.body = "more"; /* too late */
        expect_body("", 2, cases[i].result);
        assert_true(strlen(request_read_strerror(cases[i].result)) > 10);
    }
}

static void
test_a_body_without_a_length(void **state UNUSED)
{
    fake.body = "abc";
    assert_int_equal(prepare(NULL, NULL), 0);
    expect_body("abc", 2, 0);
    /* C2, W26: in CGI nothing tells its end, so there is none. */
    request_clear(&q);
    q.is_cgi = true;
    fake.body = "abc";
    fake.reads = 0;
    assert_int_equal(prepare(NULL, NULL), 0);
    expect_body("", 2, 0);
    assert_int_equal(fake.reads, 0);
}

/* --limit-body where no length is announced. */
static void
test_a_body_that_grows_too_large(void **state UNUSED)
{
    for (uint64_t limit = 2; limit <= 4; limit++) {
        request_clear(&q);
        config.limit_body = limit;
        fake.body = "abc";
        assert_int_equal(prepare(NULL, NULL), 0);
        expect_body(limit < 3 ? "ab" : "abc", 1, limit < 3 ? -EMSGSIZE : 0);
    }
}

/* F28 */
static void
test_the_data_of_a_filter(void **state UNUSED)
{
    char to[10];
    fake.data = "data";
    assert_int_equal(prepare("FCGI_DATA_LENGTH", "4"), 0);
    assert_int_equal(request_read(&q, STREAM_DATA, to, sizeof(to)), 0);
    assert_int_equal(fake.reads, 0); /* not a Filter: there is none */
    q.role = ROLE_FILTER;
    assert_int_equal(request_read(&q, STREAM_DATA, to, sizeof(to)), 4);
    assert_int_equal(request_read(&q, STREAM_DATA, to, sizeof(to)), 0);
    request_clear(&q);
    fake.data = "data";
    q.role = ROLE_FILTER;
    add("FCGI_DATA_LENGTH", "5");
    assert_int_equal(prepare(NULL, NULL), 0);
    q.role = ROLE_FILTER;
    assert_int_equal(request_read(&q, STREAM_DATA, to, sizeof(to)), 4);
    assert_int_equal(request_read(&q, STREAM_DATA, to, sizeof(to)), -ENODATA);
}

static void
test_nothing_reaches_the_next_request(void **state UNUSED)
{
    fake.body = "abc";
    assert_int_equal(prepare("CONTENT_LENGTH", "9"), 0);
    expect_body("abc", 5, -ENODATA);
    (void)request_id(&q);
    q.exit_status = 1;
    request_clear(&q);
    assert_int_equal(q.id[0], '\0');
    assert_int_equal(q.exit_status, 0);
    assert_int_equal(q.content_length, -1);
    assert_int_equal(q.body_read, 0);
    assert_null(params_get(&q.params, "CONTENT_LENGTH"));
    fake.body = "abc";
    assert_int_equal(prepare("CONTENT_LENGTH", "3"), 0);
    expect_body("abc", 5, 0);
}

/* -- the log -------------------------------------------------------------------- */

static void
test_ids(void **state UNUSED)
{
    enum { N = 2000 };
    static char ids[N][REQUEST_ID_MADE + 1];
    for (size_t i = 0; i < N; i++) {
        request_clear(&q);
        memcpy(ids[i], request_id(&q), sizeof(ids[i]));
        assert_int_equal(strlen(ids[i]), REQUEST_ID_MADE);
        assert_int_equal(strspn(ids[i], "23456789abcdefghjkmnpqrstuvwxyz"),
                         REQUEST_ID_MADE);
        assert_string_equal(request_id(&q), ids[i]); /* one for each request */
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(ids[i], ids[k]);
        }
    }
}

static void
test_two_sources_begin_at_random(void **state UNUSED)
{
    struct request_ids a = {.text = ""}, b = {.text = ""};
    char from_a[REQUEST_ID_MAX + 1], from_b[REQUEST_ID_MAX + 1];
    request_id_make(&a, from_a);
    request_id_make(&b, from_b);
    assert_string_not_equal(from_a, from_b);
}

static void
test_ids_carry_over(void **state UNUSED)
{
    struct request_ids s = {
        .text = "zzzzzzzzzz2z",
        .digit = {30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 0, 30}};
    static const char *const want[] = {"zzzzzzzzzz2z", "zzzzzzzzzz32"};
    char id[REQUEST_ID_MAX + 1];
    for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
        request_id_make(&s, id);
        assert_string_equal(id, want[i]);
    }
    memset(s.digit, 30, sizeof(s.digit));
    memset(s.text, 'z', sizeof(s.text));
    request_id_make(&s, id);
    request_id_make(&s, id);
    assert_string_equal(id, "222222222222");
}

/* A server's own id is taken where it can do no harm to a log. */
static void
test_ids_of_the_server(void **state UNUSED)
{
    static const struct {
        const char *sent;
        bool good;
    } cases[] = {
        {"a", true},
        {"0123456789abcdefABCDEF-_", true},
        {"0123456789012345678901234567890123456789012345678901234567890123",
         true},
        {"01234567890123456789012345678901234567890123456789012345678901234",
         false},
        {"", false},
        {"a b", false},
        {"a, b", false}, /* sent twice */
        {"a\nb", false},
        {"a]", false},
        {"\xc3\xa9", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        request_clear(&q);
        add("HTTP_X_REQUEST_ID", cases[i].sent);
        if (cases[i].good) {
            assert_string_equal(request_id(&q), cases[i].sent);
        }
        else {
            assert_int_equal(strlen(request_id(&q)), REQUEST_ID_MADE);
        }
    }
}

static void
test_the_running_request(void **state UNUSED)
{
    assert_null(request_running_id());
    request_set_running(&q);
    assert_string_equal(request_running_id(), request_id(&q));
    request_set_running(NULL);
    assert_null(request_running_id());
}

static void
test_request_lines(void **state UNUSED)
{
    char line[32];
    request_line(&q, line, sizeof(line)); /* nothing known */
    assert_string_equal(line, " ");
    add("REQUEST_METHOD", "GET");
    add("SCRIPT_NAME", "/app");
    add("PATH_INFO", "/x");
    request_line(&q, line, sizeof(line));
    assert_string_equal(line, "GET /app/x");
    add("REQUEST_URI", "/raw\n\x1b[2J?\x7f");
    request_line(&q, line, sizeof(line));
    assert_string_equal(line, "GET /raw??[2J??");
    char small[9];
    memset(small, '#', sizeof(small));
    for (size_t size = 1; size < sizeof(small); size++) {
        request_line(&q, small, size);
        assert_int_equal(strlen(small), size - 1);
        assert_int_equal(strncmp(small, "GET /raw", size - 1), 0);
        assert_int_equal(small[size], '#');
    }
}

static void
expect_log(const char *text, const char *level, const char *rest)
{
    char want[400];
    (void)snprintf(want, sizeof(want), "wsgi-cgi[%ld]: %s: [%s] %s\n",
                   (long)getpid(), level, request_id(&q), rest);
    assert_string_equal(text, want);
}

/* --errors-to; P9: nothing of the request may forge a line. */
static void
test_where_lines_go(void **state UNUSED)
{
    static const struct {
        enum config_errors_to to;
        const char *software;
        bool server;
    } cases[] = {
        {ERRORS_TO_AUTO, "nginx/1.22.1", true},
        {ERRORS_TO_AUTO, NULL, true},
        {ERRORS_TO_AUTO, "HAProxy 2.6.12", false},
        {ERRORS_TO_AUTO, "HAProx", true},
        {ERRORS_TO_SERVER, "HAProxy 2.6.12", true},
        {ERRORS_TO_STDERR, "nginx/1.22.1", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        request_clear(&q);
        fake.errors.len = 0;
        config.errors_to = cases[i].to;
        add("REQUEST_URI", "/a\nwsgi-cgi[1]: error: forged");
        if (cases[i].software != NULL) {
            add("SERVER_SOFTWARE", cases[i].software);
        }
        assert_int_equal(prepare(NULL, NULL), 0);
        struct capture capture;
        char text[400];
        capture_start(&capture);
        request_log(&q, LOG_LEVEL_WARNING, "%s %d\n", "line", 1);
        request_errors(&q, "", 0);
        capture_end(&capture, text, sizeof(text));
        assert_int_equal(buf_add(&fake.errors, "", 1), 0);
        static const char rest[] =
            "POST /a?wsgi-cgi[1]: error: forged: line 1\\x0a";
        expect_log(cases[i].server ? fake.errors.data : text, "warning", rest);
        assert_string_equal(cases[i].server ? text : fake.errors.data, "");
    }
}

static void *
log_from_elsewhere(void *arg UNUSED)
{
    request_errors(&q, "from another thread\n", 20);
    return NULL;
}

static void
test_lines_of_other_threads_go_to_stderr(void **state UNUSED)
{
    pthread_t other;
    struct capture capture;
    char text[100];
    assert_int_equal(prepare(NULL, NULL), 0);
    assert_true(request_tells_server(&q));
    capture_start(&capture);
    assert_int_equal(pthread_create(&other, NULL, log_from_elsewhere, NULL), 0);
    assert_int_equal(pthread_join(other, NULL), 0);
    capture_end(&capture, text, sizeof(text));
    assert_string_equal(text, "from another thread\n");
    assert_int_equal(fake.errors.len, 0);
}

static void
test_lines_of_an_entry_have_the_id_each(void **state UNUSED)
{
    static const char more[] = "Traceback:\n  at\tx\x1b\nEnd";
    char want[600];
    assert_int_equal(prepare("REQUEST_URI", "/a"), 0);
    const char *id = request_id(&q);
    request_log_more(&q, LOG_LEVEL_ERROR, more, sizeof(more) - 1, "it raised");
    assert_int_equal(buf_add(&fake.errors, "", 1), 0);
    (void)snprintf(want, sizeof(want),
                   "wsgi-cgi[%ld]: error: [%s] POST /a: it raised\n"
                   "[%s] Traceback:\n[%s]   at\tx\\x1b\n[%s] End\n",
                   (long)getpid(), id, id, id, id);
    assert_string_equal(fake.errors.data, want);
}

/* A log of our own gets it all, unless --errors-to says otherwise; what the
 * server does not take is not lost. */
static void
test_a_log_of_our_own(void **state UNUSED)
{
    struct capture capture;
    char text[600], want[600];
    for (int i = 0; i < 4; i++) {
        request_clear(&q);
        fake.errors.len = 0;
        config.errors_to = i == 0 ? ERRORS_TO_AUTO : ERRORS_TO_SERVER;
        fake.deaf = i == 2 ? 1 : i == 3 ? 6 : 0; /* i == 3: takes a part */
        log_set_up(LOG_JSON, LOG_LEVEL_NOTICE);
        add("HTTP_X_REQUEST_ID", "theirs");
        assert_int_equal(prepare("REQUEST_URI", "/a"), 0);
        capture_start(&capture);
        request_log(&q, LOG_LEVEL_NOTICE, "seen");
        request_log(&q, LOG_LEVEL_INFO, "not seen");
        request_errors(&q, "printed\n", 8);
        capture_end(&capture, text, sizeof(text));
        log_set_up(LOG_PLAIN, LOG_LEVEL_INFO);
        assert_int_equal(buf_add(&fake.errors, "", 1), 0);
        (void)snprintf(want, sizeof(want),
                       "wsgi-cgi[%ld]: notice: [theirs] POST /a: seen\n"
                       "printed\n",
                       (long)getpid());
        assert_string_equal(fake.errors.data, i == 1   ? want
                                              : i == 3 ? "wsgi-print"
                                                       : "");
        assert_null(strstr(text, "not seen"));
        assert_true(
            (strstr(text, "\"request_id\":\"theirs\",\"request\":\"POST "
                          "/a\",\"message\":\"seen\"}\n") != NULL) == (i != 1));
        assert_true((strstr(text, i == 3 ? "\"message\":\"ed\"}\n"
                                         : "\"request_id\":\"theirs\","
                                           "\"message\":\"printed\"}\n") !=
                     NULL) == (i != 1));
    }
}

/* -- waiting --------------------------------------------------------------------- */

static int hooks_depth;
static int hooks_calls;

static void
enter(void *arg)
{
    assert_ptr_equal(arg, &q);
    hooks_depth++;
    hooks_calls++;
}

static void
leave(void *arg UNUSED)
{
    hooks_depth--;
}

static void
test_waiting_has_a_deadline_and_hooks(void **state UNUSED)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    q.hooks = (struct wait_hooks){enter, leave, &q};
    int64_t start = clock_ms();
    assert_int_equal(transport_wait(&q, ends[0], POLLIN, start + 20),
                     -ETIMEDOUT);
    assert_true(clock_ms() - start >= 20);
    assert_int_equal(transport_wait(&q, ends[0], POLLIN, start - 1),
                     -ETIMEDOUT);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(transport_wait(&q, ends[0], POLLIN, clock_ms() + 1000),
                     POLLIN);
    (void)close(ends[1]);
    assert_true((transport_wait(&q, ends[0], POLLIN, clock_ms() + 1000) &
                 POLLHUP) != 0);
    (void)close(ends[0]);
    assert_int_equal(hooks_depth, 0); /* left as often as entered */
    assert_int_equal(hooks_calls, 4);
    q.hooks = (struct wait_hooks){NULL, NULL, NULL};
    assert_true((transport_wait(&q, 1000000, POLLIN, clock_ms() + 1000) &
                 POLLNVAL) != 0);
}

/* P7: what the scoreboard shows, and what --slow does not count. */
static void
test_a_wait_is_noted(void **state UNUSED)
{
    struct client_wait wait = {.kind = WAIT_NOT};
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    q.wait = &wait;
    assert_int_equal(transport_wait(&q, ends[0], POLLIN, clock_ms() + 30),
                     -ETIMEDOUT);
    long long total = wait.total_ms;
    assert_true(total >= 20 && total < 10000);
    assert_true(wait.since_ms == 0 && wait.kind == WAIT_NOT);
    /* One in the other is one wait, of the kind of the first. */
    request_wait_begin(&q, WAIT_SENDING);
    long long since = wait.since_ms;
    assert_true(since != 0 && wait.kind == WAIT_SENDING);
    assert_int_equal(wait.total_ms, total);
    request_wait_end(&q);
    assert_true(wait.since_ms == 0 && wait.total_ms < total + 1000);
    request_clear(&q);
    assert_null(q.wait); /* the next one is noted where it wants */
    assert_int_equal(transport_wait(&q, ends[0], POLLIN, clock_ms() + 1),
                     -ETIMEDOUT);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_refusals),
        TEST(test_a_body_that_is_too_large),
        TEST(test_a_wait_is_noted),
        TEST(test_head),
        TEST(test_framing),
        TEST(test_unsized),
        TEST(test_never_more_than_content_length),
        TEST(test_reads_return_what_is_there),
        TEST(test_a_body_cut_short),
        TEST(test_a_body_without_a_length),
        TEST(test_a_body_that_grows_too_large),
        TEST(test_the_data_of_a_filter),
        TEST(test_nothing_reaches_the_next_request),
        TEST(test_ids),
        TEST(test_two_sources_begin_at_random),
        TEST(test_ids_carry_over),
        TEST(test_ids_of_the_server),
        TEST(test_the_running_request),
        TEST(test_lines_of_an_entry_have_the_id_each),
        TEST(test_a_log_of_our_own),
        TEST(test_request_lines),
        TEST(test_where_lines_go),
        TEST(test_lines_of_other_threads_go_to_stderr),
        TEST(test_waiting_has_a_deadline_and_hooks),
    };
    return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
