/*
 * test_params.c - gateway/params: duplicates, what is dropped, what is filled
 *                 in, and SCRIPT_NAME/PATH_INFO of the servers that were measured
 *
 * A case is what a server sent and what the application must find:
 * "NAME=value", or "-NAME" for a variable that must not be there.
 */
#include "unit.h"

#include "gateway/params.h"

#include <errno.h>
#include <malloc.h>
#include <stdbool.h>

enum { MAX = 16 };

struct params_case {
    const char *what;
    const char *sent[MAX];
    const char *expected[MAX];
    const char *mount; /* NULL = the automatic rule */
    int result;        /* of params_correct() */
};

static void
add(struct params *p, const char *pair)
{
    const char *equals = strchr(pair, '=');
    assert_non_null(equals);
    assert_int_equal(params_add(p, pair, (size_t)(equals - pair), equals + 1,
                                strlen(equals + 1)),
                     0);
}

static void
expect(const struct params *p, const char *what, const char *expected)
{
    if (expected[0] == '-') {
        if (params_get(p, expected + 1) != NULL) {
            fail_msg("%s: %s is there", what, expected + 1);
        }
        return;
    }
    const char *equals = strchr(expected, '=');
    assert_non_null(equals);
    char name[64];
    (void)snprintf(name, sizeof(name), "%.*s", (int)(equals - expected),
                   expected);
    const struct param *e = params_get(p, name);
    if (e == NULL) {
        fail_msg("%s: no %s", what, name);
        return;
    }
    if (!params_is(p, name, equals + 1)) {
        fail_msg("%s: %s is \"%.*s\", not \"%s\"", what, name,
                 (int)e->value_len, e->value, equals + 1);
    }
}

static void
check(const struct params_case *c, size_t n)
{
    struct params p;
    params_init(&p); /* one for all: nothing of a case may reach the next */
    for (; n > 0; n--, c++) {
        struct config config = {.mount = c->mount};
        params_clear(&p);
        add(&p, "REQUEST_METHOD=GET");
        for (size_t i = 0; i < MAX && c->sent[i] != NULL; i++) {
            add(&p, c->sent[i]);
        }
        int r = params_correct(&p, &config);
        if (r != c->result) {
            fail_msg("%s: params_correct() gives %d, not %d", c->what, r,
                     c->result);
        }
        for (size_t i = 0; r == 0 && i < MAX && c->expected[i] != NULL; i++) {
            expect(&p, c->what, c->expected[i]);
        }
    }
    params_fini(&p);
}

/* -- storing --------------------------------------------------------------- */

static void
test_names_and_values_are_found(void **state UNUSED)
{
    enum { MANY = 5000 };
    static char names[MANY][16];
    struct params p;
    params_init(&p);
    assert_null(params_get(&p, "A"));
    assert_false(params_is(&p, "A", ""));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++) {
            (void)snprintf(names[i], sizeof(names[i]), "N_%d", i);
            assert_int_equal(params_add(&p, names[i], strlen(names[i]),
                                        names[i], strlen(names[i])),
                             0);
        }
        assert_int_equal(p.n, MANY);
        for (int i = 0; i < MANY; i++) {
            assert_true(params_is(&p, names[i], names[i]));
            assert_ptr_equal(p.v[i].name, names[i]); /* the order it came in */
        }
        assert_null(params_get(&p, "N_"));
        assert_null(params_get(&p, "N_5000"));
        assert_false(params_is(&p, "N_1", "N_"));
        assert_false(params_is(&p, "N_1", "N_12"));
        params_clear(&p);
        assert_null(params_get(&p, "N_1"));
        assert_int_equal(p.n, 0);
    }
    params_fini(&p);
}

static void
test_empty_names_and_bytes_of_any_kind(void **state UNUSED)
{
    struct params p;
    params_init(&p);
    assert_int_equal(params_add(&p, "", 0, "x", 1), 0);
    assert_int_equal(params_add(&p, "B\xff", 2, "a\0b", 3), 0);
    const struct param *e = params_get(&p, "");
    assert_non_null(e);
    assert_int_equal(e->value_len, 1);
    e = params_get(&p, "B\xff");
    assert_non_null(e);
    assert_int_equal(e->value_len, 3);
    assert_memory_equal(e->value, "a\0b", 3);
    params_fini(&p);
}

static void
test_names_that_differ_little_are_different(void **state UNUSED)
{
    static const struct params_case cases[] = {
        {.what = "near misses",
         .sent = {"HTTP_X_A=1", "HTTP_X-A=2", "HTTP_X_AB=3", "http_x_a=4",
                  "HTTP_X_=5"},
         .expected = {"HTTP_X_A=1", "HTTP_X-A=2", "HTTP_X_AB=3", "http_x_a=4",
                      "HTTP_X_=5"}},
    };
    check(cases, ARRAY_SIZE(cases));
}

/* X1, X4, C10: nginx 1.22 and HAProxy 2.6 repeat parameters. */
static void
test_duplicates(void **state UNUSED)
{
    static const struct params_case cases[] = {
        {.what = "request headers are joined",
         .sent = {"HTTP_X_DUP=a", "HTTP_ACCEPT=x", "HTTP_X_DUP=b",
                  "HTTP_X_DUP=c"},
         .expected = {"HTTP_X_DUP=a, b, c", "HTTP_ACCEPT=x"}},
        {.what = "empty values count",
         .sent = {"HTTP_X_DUP=", "HTTP_X_DUP=b", "HTTP_X_DUP="},
         .expected = {"HTTP_X_DUP=, b, "}},
        {.what = "cookies have their own separator",
         .sent = {"HTTP_COOKIE=a=1", "HTTP_COOKIE=b=2"},
         .expected = {"HTTP_COOKIE=a=1; b=2"}},
        {.what = "names like Cookie do not",
         .sent = {"HTTP_COOKIE2=a", "HTTP_COOKIE2=b", "HTTP_COOKI=a",
                  "HTTP_COOKI=b"},
         .expected = {"HTTP_COOKIE2=a, b", "HTTP_COOKI=a, b"}},
        {.what = "of Host and Authorization the last wins",
         .sent = {"HTTP_HOST=a", "HTTP_HOST=b:1", "HTTP_AUTHORIZATION=Basic a",
                  "HTTP_AUTHORIZATION=Basic b"},
         .expected = {"HTTP_HOST=b:1", "HTTP_AUTHORIZATION=Basic b"}},
        {.what = "of what the operator configures the last wins",
         .sent = {"SCRIPT_NAME=/a b/c", "PATH_INFO=/a b/c",
                  "SCRIPT_NAME=", "SERVER_NAME=x", "SERVER_NAME=y",
                  "CONTENT_LENGTH=5", "CONTENT_LENGTH=6", "HTTP=1", "HTTP=2"},
         .expected = {"SCRIPT_NAME=", "PATH_INFO=/a b/c", "SERVER_NAME=y",
                      "CONTENT_LENGTH=6", "HTTP=2"}},
        {.what = "the name \"HTTP_\" itself",
         .sent = {"HTTP_=1", "HTTP_=2"},
         .expected = {"HTTP_=1, 2"}},
    };
    check(cases, ARRAY_SIZE(cases));
}

static size_t
owned_bytes(const struct params *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->nowned; i++) {
        n += malloc_usable_size(p->owned[i]);
    }
    return n;
}

/* As many duplicates as --limit-head lets through: neither time nor memory may
 * grow with the square of their number. */
static void
test_very_many_duplicates(void **state UNUSED)
{
    enum { COUNT = 100000 }; /* 1 MiB of PARAMS at 10 bytes each */
    struct params p;
    params_init(&p);
    const char *at = NULL;
    unsigned moves = 0; /* of the value: each is a copy of all of it */
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(params_add(&p, "HTTP_X", 6, "ab", 2), 0);
        const struct param *x = params_get(&p, "HTTP_X");
        assert_non_null(x);
        moves += x->value != at;
        at = x->value;
        if (i % 1000 == 0 && owned_bytes(&p) > (16U << 20)) {
            fail_msg("%zu bytes after %d duplicates", owned_bytes(&p), i);
        }
    }
    const struct param *e = params_get(&p, "HTTP_X");
    assert_non_null(e);
    assert_int_equal(e->value_len, COUNT * 4 - 2);
    assert_memory_equal(e->value, "ab, ab, ", 8);
    assert_memory_equal(e->value + e->value_len - 6, "ab, ab", 6);
    assert_in_range(moves, 1, 32); /* twice the room each time */
    params_fini(&p);
}

/* -- names that somebody chose ------------------------------------------------- */

enum { CHOSEN = 20000, CHOSEN_LEN = 24, DRAWS = 9 };

static char chosen[CHOSEN][CHOSEN_LEN];

static uint64_t
word_at(const char *s)
{
    uint64_t w;
    memcpy(&w, s, sizeof w);
    return w;
}

/* Collides under the hash that the table had once: multiply and shift, no key.
 * Whoever knows such a function can run it backwards. */
static void
choose_against_multiply_shift(char *to, int i)
{
    const uint64_t k = 0x9e3779b97f4a7c15u;
    uint64_t h = CHOSEN_LEN * k;
    (void)snprintf(to, CHOSEN_LEN, "HTTP_X_%08d_", i);
    for (int word = 0; word < 2; word++) {
        h = (h ^ word_at(to + (size_t)word * 8)) * k;
        h ^= h >> 32;
    }
    h ^= 4711; /* the last word brings every name to the same value */
    memcpy(to + 16, &h, sizeof h);
}

/* Collides where h = h * 33 + byte, as in many a table: "Ez" and "FY" do. */
static void
choose_against_times_33(char *to, int i)
{
    memset(to, 'X', CHOSEN_LEN);
    for (int bit = 0; bit < CHOSEN_LEN / 2 - 1; bit++, i /= 2) {
        memcpy(to + (size_t)bit * 2, i % 2 == 0 ? "Ez" : "FY", 2);
    }
    memcpy(to + CHOSEN_LEN - 2, &i, 2); /* the rest of the number */
}

/* Nothing but a number: steps of the same size. */
static void
choose_a_number(char *to, int i)
{
    memset(to, 'X', CHOSEN_LEN);
    memcpy(to + CHOSEN_LEN - 4, &i, 4);
}

/* How many entries a search for v[i] looks at. */
static size_t
steps_to(const struct params *p, size_t i)
{
    uint32_t k = p->slots[p->v[i].hash & (p->nslots - 1)];
    size_t steps = 1;
    for (; k != i + 1; k = p->next[k - 1]) {
        assert_int_not_equal(k, 0);
        steps++;
    }
    return steps;
}

static int
compare_sizes(const void *a, const void *b)
{
    const size_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* A search looks at one entry or two, whatever the names are: the mean of the
 * middle one of some draws of the keys. */
static void
test_chosen_names_do_not_collide(void **state UNUSED)
{
    static void (*const choose[])(char *to, int i) = {
        choose_against_multiply_shift, choose_against_times_33,
        choose_a_number};
    for (size_t how = 0; how < ARRAY_SIZE(choose); how++) {
        size_t steps[DRAWS] = {0};
        for (int draw = 0; draw < DRAWS; draw++) {
            struct params p;
            hash_draw_keys();
            params_init(&p);
            for (int i = 0; i < CHOSEN; i++) {
                choose[how](chosen[i], i);
                assert_int_equal(params_add(&p, chosen[i], CHOSEN_LEN, "v", 1),
                                 0);
            }
            assert_int_equal(p.n, CHOSEN);
            for (size_t i = 0; i < p.n; i++) {
                steps[draw] += steps_to(&p, i);
            }
            params_fini(&p);
        }
        qsort(steps, DRAWS, sizeof *steps, compare_sizes);
        if (steps[DRAWS / 2] > (size_t)2 * CHOSEN) {
            fail_msg("choice %zu: %zu steps to %d names", how, steps[DRAWS / 2],
                     CHOSEN);
        }
    }
}

/* -- correcting ------------------------------------------------------------ */

static void
test_no_method_is_no_request(void **state UNUSED)
{
    static const struct config config;
    struct params p;
    params_init(&p);
    assert_int_equal(params_correct(&p, &config), -EBADMSG);
    add(&p, "REQUEST_METHOD=");
    assert_int_equal(params_correct(&p, &config), -EBADMSG);
    add(&p, "REQUEST_METHOD=M-SEARCH"); /* C9: any token */
    assert_int_equal(params_correct(&p, &config), 0);
    assert_true(params_is(&p, "REQUEST_METHOD", "M-SEARCH"));
    params_fini(&p);
}

static void
test_required_names_are_filled_in(void **state UNUSED)
{
    static const struct params_case cases[] = {
        {.what = "C1: nothing but a method",
         .sent = {NULL},
         .expected = {"SCRIPT_NAME=", "PATH_INFO=/",
                      "QUERY_STRING=", "SERVER_NAME=localhost",
                      "SERVER_PORT=80", "SERVER_PROTOCOL=HTTP/1.0",
                      "-CONTENT_LENGTH", "-CONTENT_TYPE", "-HTTP_HOST"}},
        {.what = "all empty",
         .sent = {"SCRIPT_NAME=", "PATH_INFO=", "QUERY_STRING=", "SERVER_NAME=",
                  "SERVER_PORT=", "SERVER_PROTOCOL=", "HTTP_HOST="},
         .expected = {"SCRIPT_NAME=", "PATH_INFO=/", "QUERY_STRING=",
                      "SERVER_NAME=localhost", "SERVER_PORT=80",
                      "SERVER_PROTOCOL=HTTP/1.0", "HTTP_HOST="}},
        {.what = "name and port from Host",
         .sent = {"HTTP_HOST=h.example:8443"},
         .expected = {"SERVER_NAME=h.example", "SERVER_PORT=8443",
                      "HTTP_HOST=h.example:8443"}},
        {.what = "Host without port",
         .sent = {"HTTP_HOST=h.example"},
         .expected = {"SERVER_NAME=h.example", "SERVER_PORT=80"}},
        {.what = "https",
         .sent = {"HTTP_HOST=h.example", "HTTPS=on"},
         .expected = {"SERVER_PORT=443"}},
        {.what = "IPv6 Host",
         .sent = {"HTTP_HOST=[::1]:8080"},
         .expected = {"SERVER_NAME=[::1]", "SERVER_PORT=8080"}},
        {.what = "IPv6 Host without port",
         .sent = {"HTTP_HOST=[::1]"},
         .expected = {"SERVER_NAME=[::1]", "SERVER_PORT=80"}},
        {.what = "a Host that is nonsense",
         .sent = {"HTTP_HOST=[::1"},
         .expected = {"SERVER_NAME=[::1", "SERVER_PORT=80"}},
        {.what = "a colon without a port",
         .sent = {"HTTP_HOST=h.example:"},
         .expected = {"SERVER_NAME=h.example", "SERVER_PORT=80"}},
        {.what = "no Host: the address",
         .sent = {"SERVER_ADDR=192.0.2.1"},
         .expected = {"SERVER_NAME=192.0.2.1"}},
        {.what = "X4: HAProxy and mini_httpd leave the port in SERVER_NAME",
         .sent = {"SERVER_NAME=127.0.0.1:18114", "SERVER_PORT=18114"},
         .expected = {"SERVER_NAME=127.0.0.1", "SERVER_PORT=18114"}},
        {.what = "W6: a port and no name, as HAProxy makes of Host: :80",
         .sent = {"HTTP_HOST=:80", "SERVER_NAME=:80", "SERVER_PORT=80"},
         .expected = {"SERVER_NAME=localhost", "SERVER_PORT=80"}},
        {.what = "an IPv6 address as SERVER_NAME",
         .sent = {"SERVER_NAME=fe80::1"},
         .expected = {"SERVER_NAME=fe80::1"}},
        {.what = "what is there stays",
         .sent = {"SERVER_NAME=a", "SERVER_PORT=81", "SERVER_PROTOCOL=HTTP/2.0",
                  "QUERY_STRING=x=1&y=%20", "HTTP_HOST=b:82"},
         .expected = {"SERVER_NAME=a", "SERVER_PORT=81",
                      "SERVER_PROTOCOL=HTTP/2.0", "QUERY_STRING=x=1&y=%20",
                      "HTTP_HOST=b:82"}},
    };
    check(cases, ARRAY_SIZE(cases));
}

static void
test_what_is_dropped(void **state UNUSED)
{
    static const struct params_case cases[] = {
        {.what = "W18, W19",
         .sent = {"HTTP_PROXY=evil:80", "HTTP_CONTENT_LENGTH=5",
                  "HTTP_CONTENT_TYPE=text/plain", "CONTENT_LENGTH=5",
                  "CONTENT_TYPE=text/plain"},
         .expected = {"-HTTP_PROXY", "-HTTP_CONTENT_LENGTH",
                      "-HTTP_CONTENT_TYPE", "CONTENT_LENGTH=5",
                      "CONTENT_TYPE=text/plain"}},
        {.what = "names like these stay",
         .sent = {"HTTP_PROXY_CONNECTION=x", "HTTP_CONTENT_LENGTHS=1",
                  "HTTP_PROX=y", "HTTP_CONTENT_ENCODING=gzip"},
         .expected = {"HTTP_PROXY_CONNECTION=x", "HTTP_CONTENT_LENGTHS=1",
                      "HTTP_PROX=y", "HTTP_CONTENT_ENCODING=gzip"}},
        {.what = "W10: Caddy and nginx send them empty",
         .sent = {"REMOTE_USER=", "AUTH_TYPE=", "CONTENT_TYPE=",
                  "CONTENT_LENGTH=", "HTTP_X_EMPTY=", "REMOTE_IDENT="},
         .expected = {"-REMOTE_USER", "-AUTH_TYPE", "-CONTENT_TYPE",
                      "-CONTENT_LENGTH", "HTTP_X_EMPTY=", "REMOTE_IDENT="}},
        {.what = "a user that there is",
         .sent = {"REMOTE_USER=a", "AUTH_TYPE=Basic"},
         .expected = {"REMOTE_USER=a", "AUTH_TYPE=Basic"}},
        {.what = "request_prepare has to see it",
         .sent = {"HTTP_TRANSFER_ENCODING=chunked", "CONTENT_LENGTH="},
         .expected = {"HTTP_TRANSFER_ENCODING=chunked", "-CONTENT_LENGTH"}},
    };
    check(cases, ARRAY_SIZE(cases));
}

/* W20, X5 */
static void
test_content_length(void **state UNUSED)
{
    static const struct {
        const char *sent;
        int64_t length;
    } cases[] = {
        {"CONTENT_LENGTH=0", 0},
        {"CONTENT_LENGTH=5", 5},
        {"CONTENT_LENGTH=0005", 5},
        {"CONTENT_LENGTH=9223372036854775806", INT64_MAX - 1},
        {"CONTENT_LENGTH=9223372036854775807", INT64_MAX},
        {"CONTENT_LENGTH=9223372036854775808", -1},
        {"CONTENT_LENGTH=99999999999999999999", -1},
        {"CONTENT_LENGTH=-1", -1},
        {"CONTENT_LENGTH=", -1},
        {"CONTENT_LENGTH= 5", -1},
        {"CONTENT_LENGTH=5 ", -1},
        {"CONTENT_LENGTH=+5", -1},
        {"CONTENT_LENGTH=5abc", -1},
        {"CONTENT_LENGTH=5, 5", -1},
        {"CONTENT_LENGTH=0x10", -1},
        {"NOTHING=", -1},
    };
    static const struct config config;
    struct params p;
    params_init(&p);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        params_clear(&p);
        add(&p, "REQUEST_METHOD=POST");
        add(&p, cases[i].sent);
        assert_int_equal(params_correct(&p, &config), 0);
        if (params_length(&p, "CONTENT_LENGTH") != cases[i].length) {
            fail_msg("%s: %lld", cases[i].sent,
                     (long long)params_length(&p, "CONTENT_LENGTH"));
        }
        assert_true((params_get(&p, "CONTENT_LENGTH") == NULL) ==
                    (cases[i].length < 0));
    }
    params_fini(&p);
}

/* W12 */
static void
test_https(void **state UNUSED)
{
    static const struct {
        const char *sent[3];
        bool https;
    } cases[] = {
        {{"X=1"}, false},
        {{"HTTPS=on"}, true},
        {{"HTTPS=ON"}, true},
        {{"HTTPS=1"}, true},
        {{"HTTPS=yes"}, true},
        {{"HTTPS=off"}, false},
        {{"HTTPS=0"}, false},
        {{"HTTPS="}, false},
        {{"HTTPS=o"}, false},
        {{"HTTPS=only"}, false},
        {{"REQUEST_SCHEME=https"}, true},
        {{"REQUEST_SCHEME=HTTPS"}, true},
        {{"REQUEST_SCHEME=http"}, false},
        {{"REQUEST_SCHEME=https", "HTTPS=off"}, false},
        {{"REQUEST_SCHEME=https", "HTTPS="}, true},
        {{"REQUEST_SCHEME=http", "HTTPS=on"}, true},
    };
    static const struct config config;
    struct params p;
    params_init(&p);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        params_clear(&p);
        add(&p, "REQUEST_METHOD=GET");
        for (size_t k = 0; cases[i].sent[k] != NULL; k++) {
            add(&p, cases[i].sent[k]);
        }
        assert_int_equal(params_correct(&p, &config), 0);
        if (params_is_https(&p) != cases[i].https) {
            fail_msg("case %zu: %s", i, cases[i].sent[0]);
        }
    }
    params_fini(&p);
}

/* C11 */
static void
test_authorization_under_its_other_names(void **state UNUSED)
{
    static const struct params_case cases[] = {
        {.what = "mod_rewrite's way",
         .sent = {"REDIRECT_HTTP_AUTHORIZATION=Basic r"},
         .expected = {"HTTP_AUTHORIZATION=Basic r"}},
        {.what = "FcgidPassHeader's way",
         .sent = {"Authorization=Basic p"},
         .expected = {"HTTP_AUTHORIZATION=Basic p", "-Authorization"}},
        {.what = "the real one wins",
         .sent = {"HTTP_AUTHORIZATION=Basic a",
                  "REDIRECT_HTTP_AUTHORIZATION=Basic r",
                  "Authorization=Basic p"},
         .expected = {"HTTP_AUTHORIZATION=Basic a"}},
        {.what = "unless it is empty",
         .sent = {"HTTP_AUTHORIZATION=", "REDIRECT_HTTP_AUTHORIZATION=Basic r"},
         .expected = {"HTTP_AUTHORIZATION=Basic r"}},
        {.what = "none", .sent = {"X=1"}, .expected = {"-HTTP_AUTHORIZATION"}},
    };
    check(cases, ARRAY_SIZE(cases));
}

static void
test_set_adds_and_overrides(void **state UNUSED)
{
    char a[] = "APP_MODE=production";
    char b[] = "HTTPS=on";
    char c[] = "EMPTY=";
    char d[] = "EQUALS=a=b";
    char e[] = "HTTP_X=operator";
    char *settings[] = {a, b, c, d, e};
    struct config config = {.set = {settings, ARRAY_SIZE(settings)}};
    struct params p;
    params_init(&p);
    add(&p, "REQUEST_METHOD=GET");
    add(&p, "HTTPS=off");
    add(&p, "HTTP_X=client");
    assert_int_equal(params_correct(&p, &config), 0);
    expect(&p, "set", "APP_MODE=production");
    expect(&p, "set", "HTTPS=on");
    expect(&p, "set", "EMPTY=");
    expect(&p, "set", "EQUALS=a=b");
    expect(&p, "set", "HTTP_X=operator"); /* not joined */
    expect(&p, "set", "SERVER_PORT=443"); /* later rules see it */
    assert_true(params_is_https(&p));
    params_fini(&p);
}

/* -- the path -------------------------------------------------------------- */

#define PATH "/a b/c/d"

/* Table 1.2 of the measurements, without --mount. */
static void
test_the_automatic_rule(void **state UNUSED)
{
    static const struct params_case cases[] = {
        {.what = "right as sent",
         .sent = {"SCRIPT_NAME=/app", "PATH_INFO=" PATH},
         .expected = {"SCRIPT_NAME=/app", "PATH_INFO=" PATH}},
        {.what = "exactly at the mount: no PATH_INFO",
         .sent = {"SCRIPT_NAME=/app"},
         .expected = {"SCRIPT_NAME=/app", "PATH_INFO="}},
        {.what = "HAProxy: no SCRIPT_NAME",
         .sent = {"PATH_INFO=" PATH},
         .expected = {"SCRIPT_NAME=", "PATH_INFO=" PATH}},
        {.what = "X1: nginx's stock file",
         .sent = {"SCRIPT_NAME=" PATH, "SERVER_SOFTWARE=nginx/1.22.1"},
         .expected = {"SCRIPT_NAME=", "PATH_INFO=" PATH}},
        {.what = "nginx with a split",
         .sent = {"SCRIPT_NAME=/app",
                  "PATH_INFO=", "SERVER_SOFTWARE=nginx/1.22.1"},
         .expected = {"SCRIPT_NAME=/app", "PATH_INFO="}},
        {.what = "X2: Apache's ProxyPass /",
         .sent = {"SCRIPT_NAME=" PATH,
                  "SCRIPT_FILENAME=proxy:fcgi://127.0.0.1:9911//a%20b/c/d",
                  "DOCUMENT_ROOT=/var/www/html",
                  "CONTEXT_PREFIX=", "CONTEXT_DOCUMENT_ROOT=/var/www/html"},
         .expected = {"SCRIPT_NAME=", "PATH_INFO=" PATH}},
        {.what = "Apache's ProxyPass /, GENERIC: no proxy:, still encoded",
         .sent = {"SCRIPT_NAME=" PATH, "SCRIPT_FILENAME=/a%20b/c/d",
                  "DOCUMENT_ROOT=/var/www/html",
                  "CONTEXT_PREFIX=", "CONTEXT_DOCUMENT_ROOT=/var/www/html"},
         .expected = {"SCRIPT_NAME=", "PATH_INFO=" PATH}},
        {.what = "Apache's SetHandler on a real file",
         .sent = {"SCRIPT_NAME=/app.wsgi",
                  "SCRIPT_FILENAME=proxy:fcgi://localhost/var/www/app.wsgi",
                  "DOCUMENT_ROOT=/var/www",
                  "CONTEXT_PREFIX=", "CONTEXT_DOCUMENT_ROOT=/var/www"},
         .expected = {"SCRIPT_NAME=/app.wsgi", "PATH_INFO="}},
        {.what = "Apache's balancer, outside of the document root",
         .sent = {"SCRIPT_NAME=" PATH,
                  "SCRIPT_FILENAME=proxy:balancer://b/a%20b/c/d",
                  "DOCUMENT_ROOT=/var/www"},
         .expected = {"SCRIPT_NAME=", "PATH_INFO=" PATH}},
        {.what = "a file in a folder whose name only begins like the root",
         .sent = {"SCRIPT_NAME=" PATH,
                  "SCRIPT_FILENAME=proxy:fcgi://h/var/www2/x",
                  "DOCUMENT_ROOT=/var/www"},
         .expected = {"SCRIPT_NAME=", "PATH_INFO=" PATH}},
        {.what = "mod_fcgid, mod_cgid: a real file",
         .sent = {"SCRIPT_NAME=/app", "SCRIPT_FILENAME=/srv/app.cgi",
                  "DOCUMENT_ROOT=/var/www", "CONTEXT_PREFIX=/app",
                  "CONTEXT_DOCUMENT_ROOT=/srv/app.cgi"},
         .expected = {"SCRIPT_NAME=/app", "PATH_INFO="}},
        {.what = "lighttpd without fix-root-scriptname: \"/\"",
         .sent = {"SCRIPT_NAME=/", "SERVER_SOFTWARE=lighttpd/1.4.69"},
         .expected = {"SCRIPT_NAME=", "PATH_INFO=/"}},
        {.what = "W7: SCRIPT_NAME is never \"/\"",
         .sent = {"SCRIPT_NAME=/", "PATH_INFO=/x"},
         .expected = {"SCRIPT_NAME=", "PATH_INFO=/x"}},
        {.what = "\"/\" and a rest without its slash",
         .sent = {"SCRIPT_NAME=/", "PATH_INFO=x/y"},
         .expected = {"SCRIPT_NAME=", "PATH_INFO=/x/y"}},
        {.what = "Go's cgi.Handler: the slash is the script's",
         .sent = {"SCRIPT_NAME=/myscript/", "PATH_INFO=bar"},
         .expected = {"SCRIPT_NAME=/myscript", "PATH_INFO=/bar"}},
        {.what = "the same, deeper",
         .sent = {"SCRIPT_NAME=/my/script/", "PATH_INFO=bar/baz/"},
         .expected = {"SCRIPT_NAME=/my/script", "PATH_INFO=/bar/baz/"}},
        {.what = "a slash and nothing else",
         .sent = {"SCRIPT_NAME=/myscript/", "PATH_INFO="},
         .expected = {"SCRIPT_NAME=/myscript", "PATH_INFO=/"}},
        {.what = "a slash on both sides is one",
         .sent = {"SCRIPT_NAME=/myscript/", "PATH_INFO=/bar"},
         .expected = {"SCRIPT_NAME=/myscript", "PATH_INFO=/bar"}},
        {.what = "two slashes stay two",
         .sent = {"SCRIPT_NAME=/myscript//", "PATH_INFO=bar"},
         .expected = {"SCRIPT_NAME=/myscript", "PATH_INFO=//bar"}},
        {.what = "nothing but slashes",
         .sent = {"SCRIPT_NAME=//"},
         .expected = {"SCRIPT_NAME=", "PATH_INFO=//"}},
        {.what = "PATH_INFO never begins inside of a name",
         .sent = {"SCRIPT_NAME=/app", "PATH_INFO=le/x"},
         .result = -ENOENT},
    };
    check(cases, ARRAY_SIZE(cases));
}

static void
test_in_cgi_the_script_is_a_file(void **state UNUSED)
{
    static const struct config config;
    struct params p;
    params_init(&p);
    p.script_is_file = true;
    add(&p, "REQUEST_METHOD=GET");
    add(&p, "SCRIPT_NAME=/app");
    add(&p, "SERVER_SOFTWARE=nginx/1.22.1"); /* by fcgiwrap */
    assert_int_equal(params_correct(&p, &config), 0);
    expect(&p, "cgi", "SCRIPT_NAME=/app");
    expect(&p, "cgi", "PATH_INFO=");
    params_clear(&p);
    assert_false(p.script_is_file); /* not in the next request */
    params_fini(&p);
}

/* (a) of table X: right on every server, for the root and below it. */
static void
test_a_declared_mount(void **state UNUSED)
{
    static const struct params_case cases[] = {
        {.what = "root: all of it is PATH_INFO",
         .mount = "",
         .sent = {"SCRIPT_NAME=/a b", "PATH_INFO=/c/d"},
         .expected = {"SCRIPT_NAME=", "PATH_INFO=" PATH}},
        {.what = "root: the whole path in SCRIPT_NAME",
         .mount = "",
         .sent = {"SCRIPT_NAME=" PATH},
         .expected = {"SCRIPT_NAME=", "PATH_INFO=" PATH}},
        {.what = "root: the whole path in PATH_INFO",
         .mount = "",
         .sent = {"SCRIPT_NAME=", "PATH_INFO=" PATH},
         .expected = {"SCRIPT_NAME=", "PATH_INFO=" PATH}},
        {.what = "root: \"/\"",
         .mount = "",
         .sent = {"SCRIPT_NAME=/"},
         .expected = {"SCRIPT_NAME=", "PATH_INFO=/"}},
        {.what = "root: nothing at all",
         .mount = "",
         .sent = {NULL},
         .expected = {"SCRIPT_NAME=", "PATH_INFO=/"}},
        {.what = "nginx with split_path_info",
         .mount = "/app",
         .sent = {"SCRIPT_NAME=/app", "PATH_INFO=" PATH},
         .expected = {"SCRIPT_NAME=/app", "PATH_INFO=" PATH}},
        {.what = "nginx's stock file, Apache's ProxyPass",
         .mount = "/app",
         .sent = {"SCRIPT_NAME=/app" PATH, "SERVER_SOFTWARE=nginx/1.22.1"},
         .expected = {"SCRIPT_NAME=/app", "PATH_INFO=" PATH}},
        {.what = "Caddy's handle",
         .mount = "/app",
         .sent = {"SCRIPT_NAME=", "PATH_INFO=/app" PATH},
         .expected = {"SCRIPT_NAME=/app", "PATH_INFO=" PATH}},
        {.what = "lighttpd with a slash too many",
         .mount = "/app",
         .sent = {"SCRIPT_NAME=/app/a b", "PATH_INFO=/c/d"},
         .expected = {"SCRIPT_NAME=/app", "PATH_INFO=" PATH}},
        {.what = "exactly the mount",
         .mount = "/app",
         .sent = {"SCRIPT_NAME=/app"},
         .expected = {"SCRIPT_NAME=/app", "PATH_INFO="}},
        {.what = "the mount and a slash",
         .mount = "/app",
         .sent = {"SCRIPT_NAME=/app/"},
         .expected = {"SCRIPT_NAME=/app", "PATH_INFO=/"}},
        {.what = "a neighbour",
         .mount = "/app",
         .sent = {"SCRIPT_NAME=/app", "PATH_INFO=le/x"},
         .result = -ENOENT},
        {.what = "a neighbour, split by string",
         .mount = "/app",
         .sent = {"SCRIPT_NAME=/apple", "PATH_INFO=/x"},
         .result = -ENOENT},
        {.what = "above the mount",
         .mount = "/app",
         .sent = {"SCRIPT_NAME=/ap"},
         .result = -ENOENT},
        {.what = "nothing where a mount is expected",
         .mount = "/app",
         .sent = {NULL},
         .result = -ENOENT},
        {.what = "two segments, and slashes as they were sent",
         .mount = "/a/b",
         .sent = {"SCRIPT_NAME=/a/b//c", "PATH_INFO=//d/"},
         .expected = {"SCRIPT_NAME=/a/b", "PATH_INFO=//c//d/"}},
        {.what = "W9: bytes of any kind",
         .mount = "/\xc3\xa9",
         .sent = {"SCRIPT_NAME=/\xc3\xa9/\xff%2F", "PATH_INFO=/\xe9;p"},
         .expected = {"SCRIPT_NAME=/\xc3\xa9", "PATH_INFO=/\xff%2F/\xe9;p"}},
    };
    check(cases, ARRAY_SIZE(cases));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_values_are_found),
        cmocka_unit_test(test_empty_names_and_bytes_of_any_kind),
        cmocka_unit_test(test_names_that_differ_little_are_different),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_very_many_duplicates),
        cmocka_unit_test(test_chosen_names_do_not_collide),
        cmocka_unit_test(test_no_method_is_no_request),
        cmocka_unit_test(test_required_names_are_filled_in),
        cmocka_unit_test(test_what_is_dropped),
        cmocka_unit_test(test_content_length),
        cmocka_unit_test(test_https),
        cmocka_unit_test(test_authorization_under_its_other_names),
        cmocka_unit_test(test_set_adds_and_overrides),
        cmocka_unit_test(test_the_automatic_rule),
        cmocka_unit_test(test_in_cgi_the_script_is_a_file),
        cmocka_unit_test(test_a_declared_mount),
    };
    return cmocka_run_group_tests_name("params", tests, NULL, NULL);
}
