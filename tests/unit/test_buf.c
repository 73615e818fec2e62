/*
 * test_buf.c - base/buf: growth, the mandatory maximum, no half additions
 */
#include "unit.h"

#include "base/buf.h"

#include <errno.h>

static void
test_is_empty_and_holds_no_memory_at_first(void **state UNUSED)
{
    struct buf b;
    buf_init(&b, 10);
    assert_null(b.data);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.cap, 0);
    assert_int_equal(buf_reserve(&b, 0), 0);
    assert_int_equal(buf_add(&b, NULL, 0), 0);
    assert_int_equal(buf_printf(&b, "%s", ""), 0);
    buf_consume(&b, 5);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

static void
test_maximum_minus_one_maximum_and_one_more(void **state UNUSED)
{
    static const size_t maxima[] = {1, 63, 64, 65, 100, 128, 4096, 4097};
    for (size_t i = 0; i < ARRAY_SIZE(maxima); i++) {
        size_t max = maxima[i];
        struct buf b;
        buf_init(&b, max);
        for (size_t n = 0; n < max; n++) {
            assert_int_equal(buf_add(&b, "x", 1), 0);
            assert_true(b.cap <= max);
        }
        assert_int_equal(b.len, max);
        assert_int_equal(buf_add(&b, "x", 1), -EMSGSIZE);
        assert_int_equal(buf_reserve(&b, 1), -EMSGSIZE);
        assert_int_equal(buf_printf(&b, "%d", 1), -EMSGSIZE);
        assert_int_equal(b.len, max);
        assert_int_equal(buf_add(&b, "", 0), 0);
        buf_consume(&b, 1);
        assert_int_equal(buf_add(&b, "xy", 2), -EMSGSIZE);
        assert_int_equal(buf_add(&b, "y", 1), 0);
        buf_fini(&b);
    }
}

static void
test_one_block_at_the_maximum(void **state UNUSED)
{
    static char block[1001];
    for (size_t n = 999; n <= 1001; n++) {
        struct buf b;
        buf_init(&b, 1000);
        int r = buf_add(&b, block, n);
        assert_int_equal(r, n <= 1000 ? 0 : -EMSGSIZE);
        assert_int_equal(b.len, n <= 1000 ? n : 0);
        buf_fini(&b);
    }
}

static void
test_printf_fills_to_the_last_byte(void **state UNUSED)
{
    /* The NUL that vsnprintf() adds must find room too. */
    struct buf b;
    buf_init(&b, 5);
    assert_int_equal(buf_printf(&b, "%s", "12345"), 0);
    assert_int_equal(b.len, 5);
    assert_memory_equal(b.data, "12345", 5);
    buf_fini(&b);
    buf_init(&b, 5);
    assert_int_equal(buf_printf(&b, "%s", "123456"), -EMSGSIZE);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

static void
test_keeps_its_bytes_while_growing(void **state UNUSED)
{
    struct buf b;
    buf_init(&b, 100000);
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(buf_printf(&b, "%04d ", i), 0);
    }
    assert_int_equal(b.len, 50000);
    for (int i = 0; i < 10000; i++) {
        char want[8];
        (void)snprintf(want, sizeof(want), "%04d ", i);
        assert_memory_equal(b.data + (size_t)i * 5, want, 5);
    }
    buf_fini(&b);
}

static void
test_impossible_sizes_are_errors(void **state UNUSED)
{
    struct buf b;
    buf_init(&b, SIZE_MAX);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), -ENOMEM);
    assert_int_equal(buf_add(&b, "a", 1), 0);
    /* len + extra would wrap */
    assert_int_equal(buf_reserve(&b, SIZE_MAX), -EMSGSIZE);
    assert_int_equal(b.len, 1);
    assert_int_equal(b.data[0], 'a');
    buf_fini(&b);
}

static void
test_consume_from_the_front(void **state UNUSED)
{
    static const struct {
        size_t n;
        const char *left;
    } cases[] = {{0, "abcdef"}, {1, "bcdef"}, {5, "f"}, {6, ""}, {7, ""}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct buf b;
        buf_init(&b, 10);
        assert_int_equal(buf_add_str(&b, "abcdef"), 0);
        buf_consume(&b, cases[i].n);
        assert_int_equal(b.len, strlen(cases[i].left));
        assert_memory_equal(b.data, cases[i].left, b.len);
        buf_fini(&b);
    }
}

static void
test_is_usable_again_after_fini(void **state UNUSED)
{
    struct buf b;
    buf_init(&b, 10);
    assert_int_equal(buf_add_str(&b, "old"), 0);
    buf_fini(&b);
    assert_null(b.data);
    assert_int_equal(b.len, 0);
    assert_int_equal(buf_add_str(&b, "new"), 0);
    assert_int_equal(b.len, 3);
    buf_fini(&b);
    buf_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_empty_and_holds_no_memory_at_first),
        cmocka_unit_test(test_maximum_minus_one_maximum_and_one_more),
        cmocka_unit_test(test_one_block_at_the_maximum),
        cmocka_unit_test(test_printf_fills_to_the_last_byte),
        cmocka_unit_test(test_keeps_its_bytes_while_growing),
        cmocka_unit_test(test_impossible_sizes_are_errors),
        cmocka_unit_test(test_consume_from_the_front),
        cmocka_unit_test(test_is_usable_again_after_fini),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
