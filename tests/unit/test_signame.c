/*
 * test_signame.c - base/signame: each signal of this machine has a name
 */
#include "unit.h"

#include "base/compiler.h"
#include "base/signame.h"

#include <features.h>
#include <signal.h>

static void
test_well_known(void **state UNUSED)
{
    static const struct {
        int number;
        const char *name;
    } cases[] = {{SIGABRT, "ABRT"}, {SIGSEGV, "SEGV"}, {SIGKILL, "KILL"},
                 {SIGTERM, "TERM"}, {SIGHUP, "HUP"},   {SIGSYS, "SYS"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char name[SIGNAME_SIZE];
        assert_string_equal(signame(cases[i].number, name), cases[i].name);
    }
}

/* glibc as the witness, where it is new enough. */
static void
test_all_as_glibc(void **state UNUSED)
{
#if __GLIBC_PREREQ(2, 32)
    for (int number = 1; number < SIGRTMIN; number++) {
        const char *expected = sigabbrev_np(number);
        char name[SIGNAME_SIZE];
        assert_string_equal(signame(number, name), expected ? expected : "?");
    }
#else
    print_message("no sigabbrev_np() in this glibc to compare with\n");
    skip();
#endif
}

static void
test_realtime(void **state UNUSED)
{
    char name[SIGNAME_SIZE];
    assert_string_equal(signame(SIGRTMIN, name), "RTMIN+0");
    assert_string_equal(signame(SIGRTMIN + 11, name), "RTMIN+11");
    assert_string_equal(signame(SIGRTMAX, name), "RTMIN+30");
}

static void
test_no_signal(void **state UNUSED)
{
    static const int numbers[] = {0, -1, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        char name[SIGNAME_SIZE];
        assert_string_equal(signame(numbers[i], name), "?");
    }
    char name[SIGNAME_SIZE];
    assert_string_equal(signame(SIGRTMAX + 1, name), "?");
    assert_string_equal(signame(SIGRTMIN - 1, name), "?");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_well_known),
        cmocka_unit_test(test_all_as_glibc),
        cmocka_unit_test(test_realtime),
        cmocka_unit_test(test_no_signal),
    };
    return cmocka_run_group_tests_name("signame", tests, NULL, NULL);
}
