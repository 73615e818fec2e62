/*
 * test_relay.c - client/relay: how far a request has come when it ends, and
 *                whether its body can be read again
 */
#include "unit.h"

#include "client/relay.h"
#include "gateway/response.h"
#include "transport/cgi.h"

#include <errno.h>
#include <fastcgi.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#define BODY "the body"

enum { LONG_HEAD = 40000 };

static const char *const environment[] = {
    "REQUEST_METHOD=POST", "SCRIPT_NAME=/x",
    "PATH_INFO=/",         "QUERY_STRING=",
    "SERVER_NAME=h",       "SERVER_PORT=80",
    "CONTENT_LENGTH=8",    NULL};

/* What the application does while the request waits. */
enum act { ACT_NONE, ACT_READ, ACT_CLOSE, ACT_READ_AND_CLOSE, ACT_ANSWER };

/* What the application does before it is asked. */
static struct script {
    const char *answer;
    size_t n;
    bool is_closed; /* both directions; else the answer ends */
    bool no_server; /* nobody reads the response */
    bool waits;     /* it stays open, and the relay loses its patience */
    bool is_free;   /* it is not busy at the first look */
    bool is_long;   /* the request: the kernel may cut it into pieces */
    enum act act;
} script;

/* The application's end of the connection, and how often is_busy() was
 * called. */
static int application = -1;
static int nlooks;

/* What came of it. */
static struct {
    struct relay_end end;
    char body[64]; /* as it can be read afterwards */
    char response[256];
} got;

static void
read_request(void)
{
    char request[4096];

    assert_true(recv(application, request, sizeof request, MSG_DONTWAIT) > 0);
}

static pthread_t later;

/* Until the end of STDIN. */
static void
read_long_request(void)
{
    static const char end[] = "\1\5\0\1\0\0\0";
    static char all[LONG_HEAD + 4096];
    size_t size = 0;
    ssize_t n;

    do {
        n = recv(application, all + size, sizeof all - size, 0);
        assert_true(n > 0);
        size += (size_t)n;
    } while (size < sizeof end ||
             memcmp(all + size - sizeof end, end, sizeof end) != 0);
}

/* After so many times the patience that is_busy() would be called again. */
static void *
answer_later(void *arg)
{
    (void)poll(NULL, 0, 20);
    if (script.act == ACT_CLOSE) {
        (void)close(application);
        return arg;
    }
    if (script.is_long) {
        read_long_request();
    }
    assert_int_equal(write(application, script.answer, script.n), script.n);
    return arg;
}

static bool
is_busy(void *arg)
{
    assert_ptr_equal(arg, &script);
    nlooks++;
    if (script.is_long) {
        return !script.is_free;
    }
    switch (nlooks == 1 ? script.act : ACT_ANSWER) {
    case ACT_NONE:
        break;
    case ACT_READ: /* and it takes its time for the answer */
        read_request();
        (void)pthread_create(&later, NULL, answer_later, NULL);
        break;
    case ACT_READ_AND_CLOSE:
        read_request();
        (void)close(application);
        break;
    case ACT_CLOSE:
        (void)close(application);
        break;
    case ACT_ANSWER:
        assert_int_equal(write(application, script.answer, script.n), script.n);
        break;
    }
    return !script.is_free;
}

/* A request that was taken back: who reads it now sees that it has ended. */
static void
check_end(void)
{
    char rest[4096], last = '\0';
    size_t size = 0;
    ssize_t n;

    while ((n = recv(application, rest, sizeof rest, MSG_DONTWAIT)) > 0) {
        size += (size_t)n;
        last = rest[n - 1];
    }
    assert_int_equal(n, 0);
    assert_true(size > 0);
    if (script.is_long) { /* its head has no end */
        assert_true(size > LONG_HEAD);
        assert_int_equal(last, 'x');
    }
}

static void
run(UNUSED void *arg, struct request *q)
{
    const struct relay_patience patience = {1, is_busy, &script};
    struct connection peer;
    struct buf vars;
    int pair[2];
    ssize_t n;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
                     0);
    application = pair[1];
    nlooks = 0;
    if (!script.waits) {
        assert_int_equal(write(pair[1], script.answer, script.n), script.n);
        assert_int_equal(
            script.is_closed ? close(pair[1]) : shutdown(pair[1], SHUT_WR), 0);
    }
    connection_init(&peer, "--test", "a pair", 60000, false);
    peer.fd = pair[0];
    buf_init(&vars, LONG_HEAD);
    if (script.is_long) {
        assert_int_equal(buf_reserve(&vars, LONG_HEAD), 0);
        memset(vars.data, 'x', vars.len = LONG_HEAD);
        if (script.act != ACT_NONE) {
            (void)pthread_create(&later, NULL, answer_later, NULL);
        }
    }
    relay_run(q, &peer, &vars, script.waits ? &patience : NULL, &got.end);
    if (script.waits && got.end.err == -ETIME) {
        check_end();
    }
    n = got.end.body_lost ? 0 : cgi_body_take(q, got.body, sizeof got.body - 1);
    assert_true(n >= 0);
    got.body[n] = '\0';
    connection_close(&peer);
    if (!script.is_closed && script.act != ACT_CLOSE &&
        script.act != ACT_READ_AND_CLOSE) {
        (void)close(pair[1]);
    }
    buf_fini(&vars);
    response_note_relayed(q, 200, 0, true);
}

static void
relay(struct script s)
{
    static const struct config config = {
        .limit_vars = 100, .limit_head = 1 << 20, .body_timeout_ms = 1000};
    int in[2], out[2];
    ssize_t n = 0;

    script = s;
    memset(&got, 0, sizeof got);
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    assert_int_equal(write(in[1], BODY, strlen(BODY)), strlen(BODY));
    if (s.no_server) {
        (void)close(out[0]);
    }
    struct cgi_io io = {in[0], out[1]};
    assert_int_equal(
        cgi_run(&config, (char **)(uintptr_t)environment, &io, run, NULL, NULL),
        0);
    if (!s.no_server) {
        n = read(out[0], got.response, sizeof got.response - 1);
        (void)close(out[0]);
    }
    assert_true(n >= 0);
    got.response[n] = '\0';
    (void)close(in[1]);
}

#define RECORD(TYPE, LENGTH) "\1" TYPE "\0\1\0" LENGTH "\0\0"
#define END(PROTOCOL) RECORD("\3", "\10") "\0\0\1\7" PROTOCOL "\0\0\0"
#define ANSWER(TEXT) .answer = (TEXT), .n = sizeof(TEXT) - 1

static void
test_peer_is_gone(void **state UNUSED)
{
    relay((struct script){.is_closed = true});
    assert_int_equal(got.end.stage, RELAY_NOT_BEGUN);
    assert_int_equal(got.end.err, -ENODATA);
    assert_false(got.end.body_lost);
    assert_string_equal(got.body, BODY);
    assert_string_equal(got.response, "");
}

static void
test_refused(void **state UNUSED)
{
    relay((struct script){ANSWER(END("\2"))});
    assert_int_equal(got.end.stage, RELAY_NOT_BEGUN);
    assert_int_equal(got.end.err, 0);
    assert_int_equal(got.end.protocol_status, FCGI_OVERLOADED);
    assert_false(got.end.body_lost);
    assert_string_equal(got.body, BODY);
}

/* It has got all of the request: nobody knows what it has done with it. */
static void
test_unanswered(void **state UNUSED)
{
    static const struct script cases[] = {
        {.n = 0},
        {ANSWER(RECORD("\7", "\2") "e\n")},
        {ANSWER(RECORD("\6", "\4") "X: y")},
        {ANSWER("HTTP/1.1 400 Bad Request\r\n\r\n")},
        {ANSWER(RECORD("\6", "\5") "x\r\n\r\n" END("\0"))}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        relay(cases[i]);
        assert_int_equal(got.end.stage, RELAY_UNANSWERED);
        assert_true(got.end.err < 0);
        assert_true(got.end.body_lost);
        assert_string_equal(got.response, "");
    }
}

static void
test_in_part(void **state UNUSED)
{
    relay((struct script){ANSWER(RECORD("\6", "\12") "X: y\n\nhalf")});
    assert_int_equal(got.end.stage, RELAY_IN_PART);
    assert_int_equal(got.end.err, -ENODATA);
    assert_false(got.end.is_server_gone);
    assert_string_equal(got.response, "X: y\r\n\r\nhalf");
}

static void
test_done(void **state UNUSED)
{
    relay(
        (struct script){ANSWER(RECORD("\6", "\12") "X: y\n\nmore" END("\0"))});
    assert_int_equal(got.end.stage, RELAY_DONE);
    assert_int_equal(got.end.err, 0);
    assert_true(got.end.has_output);
    assert_int_equal(got.end.app_status, 0x107);
    assert_int_equal(got.end.status, 200);
    assert_int_equal(got.end.sent, 4);
    assert_string_equal(got.response, "X: y\r\n\r\nmore");
}

static void
test_server_is_gone(void **state UNUSED)
{
    relay((struct script){ANSWER(RECORD("\6", "\12") "X: y\n\nmore" END("\0")),
                          .no_server = true});
    assert_int_equal(got.end.stage, RELAY_IN_PART);
    assert_true(got.end.is_server_gone);
    assert_int_equal(got.end.err, -EPIPE);
}

/* Nobody reads it: it comes back, and nobody begins it later. */
static void
test_taken_back(void **state UNUSED)
{
    relay((struct script){.waits = true});
    assert_int_equal(got.end.stage, RELAY_NOT_BEGUN);
    assert_int_equal(got.end.err, -ETIME);
    assert_false(got.end.body_lost);
    assert_string_equal(got.body, BODY);
    assert_string_equal(got.response, "");
    assert_int_equal(nlooks, 1);
}

static void
test_is_free_again(void **state UNUSED)
{
    relay((struct script){ANSWER(RECORD("\6", "\12") "X: y\n\nmore" END("\0")),
                          .waits = true, .is_free = true});
    assert_int_equal(got.end.stage, RELAY_DONE);
    assert_int_equal(nlooks, 2);
    assert_string_equal(got.response, "X: y\r\n\r\nmore");
}

/* It may have begun: only the application can end it. */
static void
test_is_read(void **state UNUSED)
{
    relay((struct script){ANSWER(RECORD("\6", "\12") "X: y\n\nmore" END("\0")),
                          .waits = true, .act = ACT_READ});
    assert_int_equal(pthread_join(later, NULL), 0);
    assert_int_equal(got.end.stage, RELAY_DONE);
    assert_int_equal(nlooks, 1); /* nobody asks for one that has begun */
}

/* One that the kernel may cut: nobody can begin it before all of its head has
 * been read. */
static void
test_long(void **state UNUSED)
{
    relay((struct script){.waits = true, .is_long = true});
    assert_int_equal(got.end.err, -ETIME);
    assert_int_equal(got.end.stage, RELAY_NOT_BEGUN);
    assert_string_equal(got.body, BODY);
    relay((struct script){
        .waits = true, .is_free = true, .is_long = true, .act = ACT_CLOSE});
    assert_int_equal(pthread_join(later, NULL), 0);
    assert_int_equal(got.end.err, -ECONNRESET);
    assert_int_equal(got.end.stage, RELAY_NOT_BEGUN);
    assert_string_equal(got.body, BODY);
    relay((struct script){ANSWER(RECORD("\6", "\12") "X: y\n\nmore" END("\0")),
                          .waits = true, .is_free = true, .is_long = true,
                          .act = ACT_READ});
    assert_int_equal(pthread_join(later, NULL), 0);
    assert_int_equal(got.end.stage, RELAY_DONE);
    assert_string_equal(got.response, "X: y\r\n\r\nmore");
}

/* The kernel says whether something was unread. */
static void
test_ended_while_it_waits(void **state UNUSED)
{
    relay((struct script){.waits = true, .is_free = true, .act = ACT_CLOSE});
    assert_int_equal(got.end.err, -ECONNRESET);
    assert_int_equal(got.end.stage, RELAY_NOT_BEGUN);
    assert_string_equal(got.body, BODY);
    relay((struct script){
        .waits = true, .is_free = true, .act = ACT_READ_AND_CLOSE});
    assert_int_equal(got.end.err, -ENODATA);
    assert_int_equal(got.end.stage, RELAY_UNANSWERED);
    assert_true(got.end.body_begun);
    assert_true(got.end.body_lost);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peer_is_gone),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_unanswered),
        cmocka_unit_test(test_in_part),
        cmocka_unit_test(test_done),
        cmocka_unit_test(test_server_is_gone),
        cmocka_unit_test(test_taken_back),
        cmocka_unit_test(test_is_free_again),
        cmocka_unit_test(test_is_read),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_ended_while_it_waits),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
