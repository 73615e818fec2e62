/*
 * test_user_lookup.c - os/user_lookup: names and numbers of users and groups
 */
#include "unit.h"

#include "os/user_lookup.h"

#include <errno.h>

static void
test_user_by_name(void **state UNUSED)
{
    struct user_entry a;
    assert_int_equal(user_lookup("root", &a), 0);
    assert_int_equal(a.uid, 0);
    assert_int_equal(a.gid, 0);
    assert_string_equal(a.name, "root");
    assert_int_equal(a.home[0], '/');
}

/* The number of a user finds his name and group. */
static void
test_user_by_number(void **state UNUSED)
{
    struct user_entry a;
    assert_int_equal(user_lookup("0", &a), 0);
    assert_int_equal(a.uid, 0);
    assert_int_equal(a.gid, 0);
    assert_string_equal(a.name, "root");
}

static void
test_number_of_nobody(void **state UNUSED)
{
    struct user_entry a;
    assert_int_equal(user_lookup("4294967294", &a), 0);
    assert_int_equal(a.uid, 4294967294U);
    assert_true(a.gid == (gid_t)-1);
    assert_string_equal(a.name, "");
    assert_string_equal(a.home, "");
}

static void
test_group(void **state UNUSED)
{
    gid_t gid = 7;
    assert_int_equal(group_lookup("root", &gid), 0);
    assert_int_equal(gid, 0);
    assert_int_equal(group_lookup("4294967294", &gid), 0);
    assert_int_equal(gid, 4294967294U);
}

/* 4294967295 is -1, "leave it as it is" to chown() and setresuid(). */
static void
test_neither(void **state UNUSED)
{
    static const char *const words[] = {
        "",   "no such user", "4294967295", "99999999999", "-1",
        "+0", " 0",           "0 ",         "0x0"};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        struct user_entry a;
        gid_t gid = 7;
        assert_int_equal(user_lookup(words[i], &a), -ENOENT);
        assert_int_equal(group_lookup(words[i], &gid), -ENOENT);
        assert_int_equal(gid, 7);
    }
}

/* As the line about the start of a service has it. P26. */
static void
test_local_name(void **state UNUSED)
{
    char name[USER_NAME_SIZE];

    user_local_name(0, name);
    assert_string_equal(name, "root");
    user_local_name(3999999999u, name);
    assert_string_equal(name, "uid 3999999999");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_user_by_name),
        cmocka_unit_test(test_user_by_number),
        cmocka_unit_test(test_number_of_nobody),
        cmocka_unit_test(test_group),
        cmocka_unit_test(test_neither),
        cmocka_unit_test(test_local_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
