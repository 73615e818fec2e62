/*
 * test_utf8.c - text/utf8: the borders of RFC 3629
 */
#include "unit.h"

#include "text/utf8.h"

static void
test_borders(void **state)
{
    static const struct {
        const char *bytes;
        size_t want;
    } rows[] = {
        {"a", 1},
        {"\x7f", 1},
        {"\x80", 0},             /* a continuation */
        {"\xc1\xbf", 0},         /* overlong */
        {"\xc2\x80", 2},         /* U+0080 */
        {"\xdf\xbf", 2},         /* U+07FF */
        {"\xe0\x9f\xbf", 0},     /* overlong */
        {"\xe0\xa0\x80", 3},     /* U+0800 */
        {"\xed\x9f\xbf", 3},     /* U+D7FF */
        {"\xed\xa0\x80", 0},     /* a surrogate */
        {"\xee\x80\x80", 3},     /* U+E000 */
        {"\xef\xbf\xbf", 3},     /* U+FFFF */
        {"\xf0\x8f\xbf\xbf", 0}, /* overlong */
        {"\xf0\x90\x80\x80", 4}, /* U+10000 */
        {"\xf4\x8f\xbf\xbf", 4}, /* U+10FFFF */
        {"\xf4\x90\x80\x80", 0}, /* above */
        {"\xf5\x80\x80\x80", 0},
        {"\xff", 0},
        {"\xc3(", 0}, /* not a continuation */
        {"\xe2\x82(", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(utf8_char(rows[i].bytes, strlen(rows[i].bytes)),
                         rows[i].want);
    }
}

static void
test_cut_off(void **state)
{
    static const char four[] = "\xf0\x9f\x90\x8d";

    (void)state;
    for (size_t n = 1; n < 4; n++) {
        assert_int_equal(utf8_char(four, n), 0);
    }
    assert_int_equal(utf8_char(four, 4), 4);
}

static void
test_whole(void **state)
{
    static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";
    static const size_t want[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};

    (void)state;
    for (size_t n = 0; n < sizeof want / sizeof want[0]; n++) {
        assert_int_equal(utf8_whole(text, n), want[n]);
    }
    assert_int_equal(utf8_whole("\x80\x80\x80\x80\x80", 5), 5);
    assert_int_equal(utf8_whole("\x80", 1), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_borders),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
