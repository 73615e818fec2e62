/*
 * test_bytes.c - base/bytes: equal where memcmp() says so, and nowhere else
 */
#include "unit.h"

#include "base/bytes.h"

enum { MOST = 80 };

/* At the end of memory of its own, so that a sanitizer sees a byte too many. */
static void
test_every_length_and_place(void **state UNUSED)
{
    for (size_t n = 0; n <= MOST; n++) {
        char *a = malloc(n == 0 ? 1 : n), *b = malloc(n == 0 ? 1 : n);
        assert_non_null(a);
        assert_non_null(b);
        for (size_t i = 0; i < n; i++) {
            a[i] = b[i] = (char)('A' + i);
        }
        assert_true(bytes_equal(a, b, n));
        for (size_t i = 0; i < n; i++) {
            b[i] ^= 0x20;
            if (bytes_equal(a, b, n)) {
                fail_msg("byte %zu of %zu", i, n);
            }
            b[i] ^= 0x20;
        }
        free(a);
        free(b);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_length_and_place),
    };
    return cmocka_run_group_tests_name("bytes", tests, NULL, NULL);
}
