/*
 * test_cpu_limit.c - base/cpu_limit: how far RLIMIT_CPU is moved, and when a
 * process is to be replaced (P21)
 */
#include "unit.h"

#include "base/cpu_limit.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* In a child: a hard limit can only be lowered. */
struct seen {
    int64_t replace_ms;
    rlim_t first, after, restored; /* the soft limit */
    bool is_tight, is_due, is_half_used;
};

static void
look(rlim_t soft, rlim_t hard, unsigned threads, struct seen *ret)
{
    struct rlimit r = {.rlim_cur = soft, .rlim_max = hard};
    struct cpu_limit c = {.soft_s = 0};

    /* With a limit of 0, Linux 5.4 and later send it at once. */
    (void)signal(SIGXCPU, SIG_IGN);
    if (setrlimit(RLIMIT_CPU, &r) < 0) {
        _exit(1);
    }
    cpu_limit_open(&c, threads);
    ret->replace_ms = c.replace_ms;
    ret->is_tight = c.is_tight;
    ret->is_due = cpu_limit_renew(&c);
    ret->is_half_used = cpu_limit_is_half_used(&c);
    (void)getrlimit(RLIMIT_CPU, &r);
    ret->after = r.rlim_cur;
    cpu_limit_restore(&c);
    (void)getrlimit(RLIMIT_CPU, &r);
    ret->restored = r.rlim_cur;
}

static struct seen
with_limits(rlim_t soft, rlim_t hard, unsigned threads)
{
    struct seen s = {.replace_ms = -1};
    int ends[2], status;

    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        look(soft, hard, threads, &s);
        _exit(write(ends[1], &s, sizeof s) == (ssize_t)sizeof s ? 0 : 1);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(read(ends[0], &s, sizeof s), sizeof s);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return s;
}

/* Without a limit nothing is moved, and nothing is due. */
static void
test_none(void **state UNUSED)
{
    struct seen s = with_limits(RLIM_INFINITY, RLIM_INFINITY, 1);

    assert_true(s.after == RLIM_INFINITY && s.restored == RLIM_INFINITY);
    assert_false(s.is_due || s.is_half_used || s.is_tight);
}

/* A request has the whole limit again, for each thread. */
static void
test_soft(void **state UNUSED)
{
    struct seen one = with_limits(100, RLIM_INFINITY, 1);
    struct seen three = with_limits(100, RLIM_INFINITY, 3);

    assert_int_equal(one.after, 101);
    assert_int_equal(three.after, 301);
    assert_int_equal(one.replace_ms, 800000);
    assert_int_equal(three.replace_ms, 2400000);
    assert_int_equal(three.restored, 100);
    assert_false(one.is_tight || one.is_due || one.is_half_used);
}

/* A hard limit that is not in the way. */
static void
test_high_hard(void **state UNUSED)
{
    struct seen s = with_limits(100, 1000, 1);

    assert_int_equal(s.after, 101);
    assert_int_equal(s.replace_ms, 800000);
    assert_false(s.is_tight);
}

/* A quarter of what is left is used; the child has used almost nothing. Or, a
 * request would have less than the limit. */
static void
test_low_hard(void **state UNUSED)
{
    struct seen same = with_limits(100, 100, 1);
    struct seen higher = with_limits(100, 300, 1);

    assert_int_equal(same.after, 100);
    assert_in_range(same.replace_ms, 25000, 26000);
    assert_true(same.is_tight);
    assert_false(same.is_due);
    assert_int_equal(higher.after, 101);
    assert_int_equal(higher.replace_ms, 200000);
    assert_true(higher.is_tight);
}

/* No time counts as a second, as it does before Linux 5.4. */
static void
test_zero(void **state UNUSED)
{
    struct seen s = with_limits(0, RLIM_INFINITY, 1);

    assert_int_equal(s.after, 2);
    assert_int_equal(s.replace_ms, 8000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),      cmocka_unit_test(test_soft),
        cmocka_unit_test(test_high_hard), cmocka_unit_test(test_low_hard),
        cmocka_unit_test(test_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
