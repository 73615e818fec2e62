/*
 * test_hash.c - base/hash: equal strings, equal values; others only by chance
 */
#include "unit.h"

#include "base/hash.h"

#include <stdbool.h>

enum { LONGEST = 100 };

static void
test_every_byte_and_the_length_count(void **state UNUSED)
{
    char s[LONGEST], t[LONGEST];
    unsigned same = 0, compared = 0;

    memset(s, 'A', sizeof s);
    memset(t, 'A', sizeof t);
    for (size_t n = 0; n < LONGEST; n++) {
        assert_int_equal(hash_bytes(s, n), hash_bytes(t, n));
        same += hash_bytes(s, n) == hash_bytes(s, n + 1);
        for (size_t i = 0; i < n; i++, compared++) {
            t[i] = 'B';
            same += hash_bytes(s, n) == hash_bytes(t, n);
            t[i] = '\0';
            same += hash_bytes(s, n) == hash_bytes(t, n);
            t[i] = 'A';
        }
    }
    assert_true(compared > 4000);
    assert_true(same <= 1); /* by chance: one run in 400,000 has one */
}

/* Nothing beyond the string is read: valgrind and AddressSanitizer look on. */
static void
test_no_byte_too_many(void **state UNUSED)
{
    uint32_t sum = 0;

    for (size_t n = 0; n < LONGEST; n++) {
        char *s = malloc(n + 1);
        assert_non_null(s);
        memset(s, 'x', n);
        sum += hash_bytes(s, n);
        s[n] = 'y';
        sum -= hash_bytes(s, n);
        free(s);
    }
    assert_int_equal(sum, 0);
}

/* The keys are random: what collides today is not what collided yesterday. */
static void
test_other_keys_other_values(void **state UNUSED)
{
    static const char name[] = "HTTP_X_FORWARDED_FOR_AND_MANY_MORE_OF_THEM";
    uint32_t before[sizeof name];
    unsigned same = 0;

    for (size_t n = 0; n < sizeof name; n++) {
        before[n] = hash_bytes(name, n);
    }
    hash_draw_keys();
    for (size_t n = 0; n < sizeof name; n++) {
        same += hash_bytes(name, n) == before[n];
    }
    assert_true(same <= 1);
}

/* Any bits of the value may choose the slot. */
static void
test_all_bits_are_used(void **state UNUSED)
{
    enum { SLOTS = 256, EACH = 64 };
    char name[HASH_SHORT + 8];

    for (unsigned shift = 0; shift <= 24; shift += 8) {
        unsigned count[SLOTS] = {0}, most = 0;
        for (int i = 0; i < SLOTS * EACH; i++) {
            int n = snprintf(name, sizeof name, "HTTP_X%d", i * 7919);
            uint32_t h = hash_bytes(name, (size_t)n) >> shift;
            count[h % SLOTS]++;
        }
        for (int i = 0; i < SLOTS; i++) {
            most = most < count[i] ? count[i] : most;
        }
        assert_true(most < 4 * EACH);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte_and_the_length_count),
        cmocka_unit_test(test_no_byte_too_many),
        cmocka_unit_test(test_other_keys_other_values),
        cmocka_unit_test(test_all_bits_are_used),
    };
    return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
