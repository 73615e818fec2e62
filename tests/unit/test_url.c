/*
 * test_url.c - text/url: percent-encoding, and mod_proxy_fcgi's file names
 */
#include "unit.h"

#include "text/url.h"

#include <string.h>

static void
test_coded_byte(void **state UNUSED)
{
    static const struct {
        const char *s;
        int byte;
    } cases[] = {
        {"%41", 'A'},
        {"%2f", '/'},
        {"%2F/", '/'},
        {"%00", 0},
        {"%ff", 255},
        {"%fF", 255},
        {"", -1},
        {"a", -1},
        {"%", -1},
        {"%4", -1},
        {"%4g", -1},
        {"%g4", -1},
        {"%%4", -1},
        {"%@1", -1},
        {"%1`", -1},
        {"%\xc1"
         "1",
         -1},
        {"%1\x10", -1},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int byte = url_coded_byte(cases[i].s, strlen(cases[i].s));
        if (byte != cases[i].byte) {
            fail_msg("%s: %d", cases[i].s, byte);
        }
    }
    /* Not a byte past the end is looked at. */
    assert_int_equal(url_coded_byte("%41", 2), -1);
}

static void
test_decode(void **state UNUSED)
{
    static const struct {
        const char *from, *to;
        size_t n;
    } cases[] = {
        {"", "", 0},
        {"abc", "abc", 3},
        {"%41b%43", "AbC", 3},
        {"%", "%", 1},
        {"%4", "%4", 2},
        {"%zz%41", "%zzA", 4},
        {"%2541", "%41", 3},
        {"a%00b", "a\0b", 3},
        {"a+b", "a+b", 3},
        {"%%41", "%A", 2},
        {"a%c3%a9", "a\xc3\xa9", 3},
    };
    char text[32];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t n = strlen(cases[i].from);
        memcpy(text, cases[i].from, n + 1);
        n = url_decode(text, n);
        if (n != cases[i].n || memcmp(text, cases[i].to, n) != 0) {
            fail_msg("%s: %.*s", cases[i].from, (int)n, text);
        }
    }
}

static void
test_proxy_prefix(void **state UNUSED)
{
    static const struct {
        const char *name, *path;
    } cases[] = {
        {"/srv/app.py", "/srv/app.py"},
        {"", ""},
        {"proxy", "proxy"},
        {"proxy:", ""},
        {"proxy:fcgi://127.0.0.1:9000/srv/app.py", "/srv/app.py"},
        {"proxy:fcgi://127.0.0.1:9000//srv/app.py", "//srv/app.py"},
        {"proxy:fcgi://localhost", ""},
        {"proxy:fcgi:/x", "fcgi:/x"},
        {"proxy:balancer://pool/srv/app.py?x=/", "/srv/app.py?x=/"},
        {"proxy:unix:/run/a.sock|fcgi://host/srv/app.py", "/srv/app.py"},
        {"proxy:unix:/run/a.sock", ""},
        {"proxy:/srv/app.py", "/srv/app.py"},
        {"Proxy:fcgi://host/x", "Proxy:fcgi://host/x"},
        {"x/proxy:fcgi://host/x", "x/proxy:fcgi://host/x"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *name = cases[i].name;
        size_t n = url_proxy_prefix(name, strlen(name));
        if (n > strlen(name) || strcmp(name + n, cases[i].path) != 0) {
            fail_msg("%s: %zu", name, n);
        }
    }
    assert_int_equal(url_proxy_prefix(NULL, 0), 0);
    assert_int_equal(url_proxy_prefix("proxy:fcgi://a/b", 14), 14);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_coded_byte),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_proxy_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
