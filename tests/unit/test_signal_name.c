/*
 * test_signal_name.c - text/signal_name: each signal of this machine has a name
 */
#include "unit.h"

#include "base/compiler.h"
#include "text/signal_name.h"

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
        char name[SIGNAL_NAME_SIZE];
        assert_string_equal(signal_name(cases[i].number, name), cases[i].name);
    }
}

/* glibc as the witness, where it is new enough. */
static void
test_all_as_glibc(void **state UNUSED)
{
#if __GLIBC_PREREQ(2, 32)
    for (int number = 1; number < SIGRTMIN; number++) {
        const char *expected = sigabbrev_np(number);
        char name[SIGNAL_NAME_SIZE];
        assert_string_equal(signal_name(number, name),
                            expected ? expected : "?");
    }
#else
    print_message("no sigabbrev_np() in this glibc to compare with\n");
    skip();
#endif
}

static void
test_realtime(void **state UNUSED)
{
    char name[SIGNAL_NAME_SIZE];
    assert_string_equal(signal_name(SIGRTMIN, name), "RTMIN+0");
    assert_string_equal(signal_name(SIGRTMIN + 11, name), "RTMIN+11");
    assert_string_equal(signal_name(SIGRTMAX, name), "RTMIN+30");
}

static void
test_no_signal(void **state UNUSED)
{
    static const int numbers[] = {0, -1, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        char name[SIGNAL_NAME_SIZE];
        assert_string_equal(signal_name(numbers[i], name), "?");
    }
    char name[SIGNAL_NAME_SIZE];
    assert_string_equal(signal_name(SIGRTMAX + 1, name), "?");
    assert_string_equal(signal_name(SIGRTMIN - 1, name), "?");
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
    return cmocka_run_group_tests_name("signal_name", tests, NULL, NULL);
}
