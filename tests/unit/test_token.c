/*
 * test_token.c - text/token: every byte, alone and in a name
 */
#include "unit.h"

#include "base/compiler.h"
#include "text/token.h"

#include <stdbool.h>
#include <string.h>

static void
test_every_byte(void **state UNUSED)
{
    static const char chars[] = "!#$%&'*+-.^_`|~0123456789"
                                "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

    for (int c = 0; c < 256; c++) {
        const char alone = (char)c;
        const char inside[] = {'a', (char)c, 'b'};
        bool wanted = memchr(chars, c, sizeof chars - 1) != NULL;
        if (token_is_valid(&alone, 1) != wanted ||
            token_is_valid(inside, sizeof inside) != wanted) {
            fail_msg("byte %d", c);
        }
    }
}

static void
test_length(void **state UNUSED)
{
    assert_false(token_is_valid("", 0));
    assert_true(token_is_valid("Content-Type: text/html", 12));
    assert_false(token_is_valid("Content-Type: text/html", 13));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
