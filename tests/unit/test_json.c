/*
 * test_json.c - text/json: whatever the bytes are, a valid string
 */
#include "unit.h"

#include "text/json.h"

#include <errno.h>

static void
expect(const char *text, size_t n, const char *want)
{
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(json_add(&b, text, n), 0);
    assert_int_equal(b.len, strlen(want));
    assert_memory_equal(b.data, want, b.len);
    buf_fini(&b);
}

static void
test_strings(void **state UNUSED)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"a\"b\\c/", "\"a\\\"b\\\\c/\""},
        {"\n\t\r\x1b\x7f", "\"\\n\\t\\u000d\\u001b\\u007f\""},
        {"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80",
         "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\""},
        {"\xc2\x9b\xc2\xa0", "\"\\u009b\xc2\xa0\""}, /* a control; none */
        {"\xff-\xc3", "\"\\ufffd-\\ufffd\""},
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""}, /* a surrogate */
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        expect(rows[i].text, strlen(rows[i].text), rows[i].want);
    }
    expect("a\0b", 3, "\"a\\u0000b\"");
}

static void
test_a_cut_character_reads_nothing_behind_it(void **state UNUSED)
{
    expect("a\xe2\x82\xac", 3, "\"a\\ufffd\\ufffd\"");
}

static void
test_members(void **state UNUSED)
{
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(json_add_member(&b, "a", "x", 1), 0);
    assert_int_equal(json_add_member(&b, "none", NULL, 0), 0);
    assert_int_equal(json_add_member(&b, "empty", "", 0), 0);
    assert_int_equal(json_add_number(&b, "n", 12), 0);
    assert_int_equal(b.len, 26);
    assert_memory_equal(b.data, ",\"a\":\"x\",\"empty\":\"\",\"n\":12", b.len);
    buf_fini(&b);
}

static void
test_a_full_buffer_is_an_error(void **state UNUSED)
{
    for (size_t max = 0; max < 12; max++) {
        struct buf b;
        buf_init(&b, max);
        assert_int_equal(json_add(&b,
                                  "ab\x01"
                                  "cd",
                                  5),
                         -EMSGSIZE);
        buf_fini(&b);
    }
    struct buf b;
    buf_init(&b, 12);
    assert_int_equal(json_add(&b,
                              "ab\x01"
                              "cd",
                              5),
                     0);
    buf_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_a_cut_character_reads_nothing_behind_it),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_a_full_buffer_is_an_error),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
