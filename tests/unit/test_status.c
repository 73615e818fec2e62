/*
 * test_status.c - status/status: which paths are meant, and what the forms say
 * of a scoreboard that no real server could be brought into
 */
#include "unit.h"

#include "base/clock.h"
#include "status/status.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

/* What clients can put into a request line, and a path of ours in UTF-8. */
#define HOSTILE "GET /<i>&\"'\\\x01\x7f\n\xc3\xa9\xff\xe2\x82"
#define POOL "/srv/caf\xc3\xa9/\"<app>\\.py"

struct fixture {
    struct config config;
    struct scoreboard *board;
    struct status_source from;
    struct buf page;
    const char *type;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->config.app = POOL;
    f->config.processes = f->config.processes_min = 2;
    f->config.status_path = "/status";
    f->config.ping_path = "/ping";
    f->board = scoreboard_new(3, 2);
    assert_non_null(f->board);
    f->from = (struct status_source){.config = &f->config, .board = f->board};
    buf_init(&f->page, 1 << 20);
    /* No process has numbers as high as these. */
    scoreboard_take(f->board, 0, 5004100, 7);
    atomic_store(&f->board->workers[0].state, SCORE_READY);
    atomic_store(&f->board->workers[0].requests, 41);
    atomic_store(&f->board->workers[0].failed, 3);
    atomic_store(&f->board->workers[0].client_aborts, 6);
    /* Slot 1 stays free: its rows must not appear. */
    scoreboard_take(f->board, 2, 5004102, 8);
    atomic_store(&f->board->gone_requests, 1000);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    scoreboard_free(&f->board);
    buf_fini(&f->page);
    free(f);
    return 0;
}

static void
put_line(struct fixture *f, unsigned worker, unsigned thread, const char *line,
         int64_t running_ms)
{
    struct score_thread *t = scoreboard_thread(f->board, worker, thread);
    struct request q = {.id = "x"};
    (void)snprintf(q.line, sizeof q.line, "%s", line);
    (void)score_begin(f->board, t, &q);
    atomic_store(&t->requests, 5);
    atomic_store(&t->last_us, 12000);
    atomic_store(&t->since_ms, running_ms < 0 ? 0 : clock_ms() - running_ms);
}

static const char *
page_from(struct fixture *f, unsigned own, const char *query)
{
    const struct param p = {.value = query,
                            .value_len = (uint32_t)strlen(query)};

    f->page.len = 0;
    assert_int_equal(status_page(&f->from, own, &p, &f->page, &f->type), 0);
    assert_int_equal(buf_add(&f->page, "", 1), 0);
    return f->page.data;
}

static const char *
page(struct fixture *f, const char *query)
{
    return page_from(f, 0, query);
}

static void
assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("\"%s\" is not in:\n%s", part, text);
    }
}

static void
assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part) != NULL) {
        fail_msg("\"%s\" is in:\n%s", part, text);
    }
}

/* -- which page ------------------------------------------------------------------ */

static bool
is_wanted(struct fixture *f, const char *uri, const char *script,
          const char *info)
{
    struct request q = {.config = &f->config};
    const char *const names[] = {"REQUEST_URI", "SCRIPT_NAME", "PATH_INFO"};
    const char *const values[] = {uri, script, info};

    params_init(&q.params);
    for (size_t i = 0; i < 3; i++) {
        if (values[i] != NULL) {
            assert_int_equal(params_add(&q.params, names[i], strlen(names[i]),
                                        values[i], strlen(values[i])),
                             0);
        }
    }
    bool wanted = status_is_wanted(&f->config, &q);
    params_fini(&q.params);
    return wanted;
}

static void
test_paths(void **state)
{
    struct fixture *f = *state;

    assert_true(is_wanted(f, "/status", "", "/status"));
    assert_true(is_wanted(f, "/status?json&full", "", "/status"));
    assert_true(is_wanted(f, "/status?", NULL, NULL));
    assert_true(is_wanted(f, "/ping", "/ping", ""));
    /* The path as sent counts, not what it decodes or maps to. */
    assert_false(is_wanted(f, "/%73tatus", "", "/status"));
    assert_false(is_wanted(f, "/x/../status", "", "/status"));
    assert_false(is_wanted(f, "/other", "", "/status"));
    assert_false(is_wanted(f, "/status/", "", "/status/"));
    assert_false(is_wanted(f, "/statu", "", "/statu"));
    assert_false(is_wanted(f, "/status2", "", "/status2"));
    assert_false(is_wanted(f, "/?/status", "", "/"));
    /* No REQUEST_URI, or none that is a path. */
    assert_true(is_wanted(f, NULL, "", "/status"));
    assert_true(is_wanted(f, NULL, "/status", NULL));
    assert_true(is_wanted(f, NULL, "/sta", "tus"));
    assert_true(is_wanted(f, "", NULL, "/status"));
    assert_true(is_wanted(f, "http://h/status", "", "/status"));
    assert_false(is_wanted(f, NULL, "/status", "/status"));
    assert_false(is_wanted(f, NULL, NULL, NULL));
}

static void
test_no_path_configured(void **state)
{
    struct fixture *f = *state;

    f->config.status_path = f->config.ping_path = NULL;
    assert_false(is_wanted(f, "/status", "", "/status"));
    assert_false(is_wanted(f, "/ping", "", "/ping"));
    assert_false(is_wanted(f, "", "", ""));
}

static void
test_forms(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *query, *type;
        bool full;
    } rows[] = {
        {"", "text/html", false},
        {"html", "text/html", false},
        {"full", "text/html", true},
        {"full=1", "text/html", true},
        {"fuller&jsonx&xjson", "text/html", false},
        {"json", "application/json", false},
        {"full&json", "application/json", true},
        {"json=&full", "application/json", true},
        {"&&json&", "application/json", false},
        {"text", "text/plain", false},
        {"openmetrics", "application/openmetrics-text; version=1.0.0", false},
    };

    put_line(f, 0, 0, "GET /the-request", -1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *text = page(f, rows[i].query);
        assert_int_equal(strncmp(f->type, rows[i].type, strlen(rows[i].type)),
                         0);
        assert_int_equal(strstr(text, "/the-request") != NULL, rows[i].full);
    }
}

/* -- what they say --------------------------------------------------------------------- */

static void
test_numbers(void **state)
{
    struct fixture *f = *state;

    put_line(f, 0, 1, "GET /slow", 90000);
    const char *json = page(f, "json&full");
    assert_has(json, "\"requests\":1041,\"failed requests\":3,"
                     "\"client aborts\":6,");
    assert_has(json, "\"requests\":41,\"failed requests\":3,"
                     "\"client aborts\":6,\"slow requests\":");
    assert_has(json, "\"active requests\":1,\"max active requests\":1,"
                     "\"threads\":2,\"idle processes\":0,"
                     "\"active processes\":1,\"total processes\":2,"
                     "\"starting processes\":1,");
    assert_has(json, "{\"pid\":5004100,\"state\":\"ready\",\"generation\":7,");
    assert_has(json, "\"state\":\"Running\",\"requests\":5,"
                     "\"request duration\":90");
    assert_has(json, "\"request method\":\"GET\",\"request uri\":\"/slow\"}");
    assert_has(json,
               "{\"pid\":5004102,\"state\":\"starting\",\"generation\":8,");
    assert_lacks(json, "\"pid\":0");

    const char *text = page(f, "text&full");
    assert_has(text, "\nprocess manager:      static\n");
    assert_has(text, "\nrequests:             1041\n");
    assert_has(text, "\nclient aborts:        6\n");
    assert_has(strstr(text, "\npid: "), "\nclient aborts:        6\n");
    assert_has(text, "\nrunning request:      GET /slow\n");

    /* Long ones break where they do not fit. */
    assert_has(page(f, ""), "<dt>Requests</dt><dd>1,<wbr>041</dd>");

    assert_has(page(f, ""), "<dt>Failed requests</dt><dd class=bad>3</dd>");
    assert_has(page(f, ""), "<dt>Client aborts</dt><dd>6</dd>");

    const char *metrics = page(f, "openmetrics&full");
    assert_has(metrics, "\nwsgi_cgi_failed_requests_total 3\n");
    assert_has(metrics, "\nwsgi_cgi_client_aborts_total 6\n");
    assert_has(metrics, "\nwsgi_cgi_requests_total 1041\n");
    assert_has(metrics, "\nwsgi_cgi_process_requests_total{slot=\"0\"} 41\n");
    assert_has(metrics, "\nwsgi_cgi_process_active_requests{slot=\"2\"} 0\n");
    assert_lacks(metrics, "{slot=\"1\"}");
    assert_has(metrics, "\n# EOF\n");
}

/* A free-threaded Python says whether its threads take turns, of each process.
 * Any other only in JSON. */
static void
test_gil(void **state)
{
    struct fixture *f = *state;

    /* Until a process has started: what is expected of it. */
    f->board->expects_gil = true;
    atomic_store(&f->board->workers[0].state, SCORE_STARTING);
    assert_has(page(f, "json"), "\"gil\":true,");
    atomic_store(&f->board->workers[0].state, SCORE_READY);
    assert_has(page(f, "json"), "\"gil\":false,");
    assert_lacks(page(f, "text&full"), "gil");
    assert_lacks(page(f, ""), "GIL");
    assert_lacks(page(f, "openmetrics"), "gil");

    f->board->python = "3.13.5 free-threaded";
    assert_has(page(f, "json&full"), "\"gil\":false,");
    assert_has(page(f, "text"),
               "\npython:               3.13.5 free-threaded, GIL "
               "off\n");
    assert_has(page(f, ""), "<dt>Python</dt><dd>3.13.5 free-threaded "
                            "<small>GIL off</small></dd>");
    /* A process that starts does not count: it has loaded nothing. */
    atomic_store(&f->board->workers[2].gil, true);
    assert_has(page(f, "openmetrics"), "\nwsgi_cgi_gil_processes 0\n");
    atomic_store(&f->board->workers[2].state, SCORE_READY);
    assert_has(page(f, "openmetrics"), "\nwsgi_cgi_gil_processes 1\n");
    assert_has(page(f, "json"), "\"gil\":true,");
    assert_has(page(f, "text&full"), ", GIL on in 1 of 2 processes\n");
    assert_has(page(f, "text&full"), "\ngil:                  on\n");
    assert_has(page(f, "text&full"), "\ngil:                  off\n");
    atomic_store(&f->board->workers[0].gil, true);
    assert_has(page(f, ""),
               "<dt>Python</dt><dd class=warn>3.13.5 free-threaded "
               "<small>GIL on</small></dd>");
}

/* Work after the response: the thread is busy, its request has ended. */
/* P8: the memory of each process, as it is now. Of one that has ended there is
 * none, also while it has not been waited for. */
static void
test_memory(void **state)
{
    struct fixture *f = *state;
    siginfo_t dead;
    pid_t child = fork();

    if (child == 0) {
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(waitid(P_PID, (id_t)child, &dead, WEXITED | WNOWAIT), 0);
    const pid_t gone[] = {5004100, child};
    atomic_store(&f->board->workers[2].pid, getpid());
    for (size_t i = 0; i < ARRAY_SIZE(gone); i++) {
        atomic_store(&f->board->workers[0].pid, gone[i]);
        const char *json = page(f, "json&full");
        const char *first = strstr(json, "\"memory\":");
        assert_non_null(first);
        assert_int_equal(strncmp(first, "\"memory\":null,", 14), 0);
        unsigned long long bytes;
        assert_int_equal(
            sscanf(strstr(first + 1, "\"memory\":"), "\"memory\":%llu", &bytes),
            1);
        assert_in_range(bytes, 100000, 1u << 30);
        const char *text = page(f, "text&full");
        assert_has(text, "\nmemory:               -\n");
        assert_int_equal(sscanf(strstr(strstr(text, "memory:") + 1, "memory:"),
                                "memory: %llu", &bytes),
                         1);
        assert_in_range(bytes, 100000, 1u << 30);
        const char *html = page(f, "full");
        assert_has(html, "data-th=Memory>&ndash;<");
        assert_has(html, "&nbsp;MiB");
        const char *metrics = page(f, "openmetrics&full");
        assert_has(metrics,
                   "\nwsgi_cgi_process_resident_memory_bytes{slot=\"2\"} ");
        assert_lacks(metrics, "memory_bytes{slot=\"0\"}");
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void
test_finishing(void **state)
{
    struct fixture *f = *state;
    struct score_thread *t = scoreboard_thread(f->board, 0, 1);

    put_line(f, 0, 0, "GET /running", 5000);
    put_line(f, 0, 1, "GET /mail", -1);
    atomic_store(&t->after_ms, clock_ms() - 70000);
    assert_has(page(f, "json&full"),
               "{\"state\":\"Finishing\",\"requests\":5,"
               "\"request duration\":12000,\"waiting\":\"\","
               "\"request method\":\"GET\","
               "\"request uri\":\"/mail\"}");
    assert_has(page(f, "json"), "\"active requests\":2,");
    assert_has(page(f, "text&full"), "finishing request:    GET /mail\n");
    const char *html = page(f, "full");
    assert_has(html, "after response<td class=n data-th=Duration>"
                     "1&nbsp;min&nbsp;10&nbsp;s<");
    assert_has(html, "<small>1 running</small>");
    assert_true(strstr(html, "/mail") < strstr(html, "/running"));
}

/* P8: a request that waits for its client says so, in the state of its row. */
static void
test_waiting(void **state)
{
    struct fixture *f = *state;
    struct score_thread *t = scoreboard_thread(f->board, 0, 0);

    put_line(f, 0, 0, "POST /upload", 5000);
    atomic_store(&t->wait.kind, WAIT_RECEIVING);
    atomic_store(&t->wait.since_ms, clock_ms() - 1000);
    assert_has(page(f, "json&full"), "\"waiting\":\"receiving the body\","
                                     "\"request method\":\"POST\"");
    assert_has(page(f, "text&full"),
               "running request:      POST /upload (receiving the body)\n");
    assert_has(page(f, "full"), ">running (receiving the body)<");
    atomic_store(&t->wait.kind, WAIT_SENDING);
    assert_has(page(f, "text&full"), "/upload (sending the response)\n");
    atomic_store(&t->wait.since_ms, 0);
    assert_has(page(f, "text&full"), "POST /upload\n");
    assert_has(page(f, "json&full"), "\"waiting\":\"\"");
    /* The last request of an idle thread waits for nothing. */
    atomic_store(&t->wait.since_ms, clock_ms() - 1000);
    atomic_store(&t->since_ms, 0);
    assert_has(page(f, "text&full"), "last request:         POST /upload\n");
}

static void
test_verdict(void **state)
{
    struct fixture *f = *state;
    struct score_worker *w = f->board->workers;

    assert_has(page(f, ""), "<h1 class=good>Serving</h1>");
    put_line(f, 0, 0, "GET /", 10);
    put_line(f, 0, 1, "GET /", 10);
    assert_has(page(f, ""), "<h1 class=warn>Serving, all threads are busy");
    assert_has(page_from(f, 1, ""),
               "<h1 class=warn>Serving, all other threads are busy");
    assert_has(page_from(f, 2, ""), "<h1 class=good>Serving</h1>");
    atomic_store(&w[2].state, SCORE_BROKEN);
    assert_has(page(f, ""), "<h1 class=warn>Serving, but new processes");
    atomic_store(&w[0].state, SCORE_BROKEN);
    assert_has(page(f, ""), "<h1 class=bad>The application does not load");
    atomic_store(&w[0].state, SCORE_STARTING);
    atomic_store(&w[2].state, SCORE_STARTING);
    assert_has(page(f, ""), "<h1 class=warn>Starting");
    scoreboard_release(f->board, 0);
    scoreboard_release(f->board, 2);
    assert_has(page(f, ""), "<h1 class=bad>No process serves");
    assert_has(page(f, "json"), "\"total processes\":0");
}

static void
test_hostile_text(void **state)
{
    struct fixture *f = *state;

    put_line(f, 0, 0, HOSTILE, -1);
    const char *html = page(f, "full");
    assert_has(html, "GET /&lt;i&gt;&amp;&quot;&#39;\\&#xfffd;&#xfffd;"
                     "&#xfffd;\xc3\xa9&#xfffd;&#xfffd;&#xfffd;</code>");
    assert_has(html, "<p class=pool>/srv/caf\xc3\xa9/&quot;&lt;app&gt;\\.py<");
    assert_has(page(f, "json&full"),
               "\"request uri\":\"/<i>&\\\"'\\\\\\u0001\\u007f\\n\xc3\xa9"
               "\\ufffd\\ufffd\\ufffd\"");
    assert_has(page(f, "text&full"), " GET /<i>&\"'\\???\xc3\xa9???\n");
    assert_has(page(f, "openmetrics"),
               "pool=\"/srv/caf\xc3\xa9/\\\"<app>\\\\.py\"}");
}

/* A control from U+0080 on is well-formed UTF-8, but not for a terminal. */
static void
test_text_has_no_controls(void **state)
{
    struct fixture *f = *state;

    put_line(f, 0, 0,
             "GET /\xc2\x9b"
             "31m\xc2\xa0x\x1b[",
             -1);
    assert_has(page(f, "text&full"), "GET /?31m\xc2\xa0x?[\n");
}

/* -- the reply ---------------------------------------------------------------------------- */

static void
test_methods(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *method, *status;
    } rows[] = {{"GET", "200 OK"},
                {"HEAD", "200 OK"},
                {"POST", "405 Method Not Allowed"},
                {"get", "405 Method Not Allowed"}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int ping = 0; ping < 2; ping++) {
            struct params p;
            struct status_reply r;
            params_init(&p);
            assert_int_equal(params_add(&p, "REQUEST_METHOD", 14,
                                        rows[i].method, strlen(rows[i].method)),
                             0);
            assert_int_equal(status_reply_make(&r, &f->from, 1, &p, ping), 0);
            assert_string_equal(r.status, rows[i].status);
            assert_int_equal(r.allow != NULL, r.status[0] == '4');
            if (ping && r.allow == NULL) {
                assert_int_equal(r.body.len, 4);
                assert_memory_equal(r.body.data, "pong", 4);
            }
            status_reply_fini(&r);
            params_fini(&p);
        }
    }
}

static void
test_no_room(void **state)
{
    struct fixture *f = *state;
    struct buf small;
    const char *type;

    buf_init(&small, 100);
    assert_int_equal(status_page(&f->from, 0, NULL, &small, &type), -EMSGSIZE);
    buf_fini(&small);
}

int
main(void)
{
#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_paths),   TEST(test_no_path_configured),
        TEST(test_forms),   TEST(test_numbers),
        TEST(test_gil),     TEST(test_finishing),
        TEST(test_memory),  TEST(test_waiting),
        TEST(test_verdict), TEST(test_hostile_text),
        TEST(test_methods), TEST(test_text_has_no_controls),
        TEST(test_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
