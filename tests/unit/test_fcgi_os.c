/*
 * test_fcgi_os.c - transport/fcgi_os: libfcgi without memory
 */
#include "unit.h"

#include "base/compiler.h"
#include "transport/fcgi_os.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>

#define HAS_OWN_MALLOC (HAS_ASAN || HAS_TSAN)

/* How many calls from now the one is that fails; 0 = none. */
static int fail_in;
static int failed;

#if !HAS_OWN_MALLOC
void *__libc_malloc(size_t n);

/* This program's and libfcgi's, the archive's and the shared library's. */
void *
malloc(size_t n)
{
    if (fail_in > 0 && --fail_in == 0) {
        failed++;
        errno = ENOMEM;
        return NULL;
    }
    return __libc_malloc(n);
}
#endif

/* Whichever allocation it is that fails: an error, and the next one works. */
static void
test_every_allocation_fails_once(void **state UNUSED)
{
    enum { ENOUGH = 100 };
    int n = 0;

    if (HAS_OWN_MALLOC) {
        print_message("skipped: the sanitizer's malloc cannot be replaced\n");
        skip();
    }
    assert_int_equal(fcgi_os_start(), 0);
    for (bool all = false; !all && n < ENOUGH; n++) {
        fail_in = n + 1;
        failed = 0;
        int e = fcgi_os_start();
        all = failed == 0;
        assert_int_equal(e, all ? 0 : -ENOMEM);
        fail_in = 0;
        assert_int_equal(fcgi_os_start(), 0);
    }
    assert_in_range(n, 8, ENOUGH - 1); /* it allocates about a dozen times */
}

/* <assert.h> does not declare it where NDEBUG is set. */
/* NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
extern void __assert_fail(const char *what, const char *file, unsigned line,
                          const char *function);

/* Assertions that are not libfcgi's still abort. */
static void
test_other_assertions(void **state UNUSED)
{
    char said[1000];
    struct capture c;
    int status;

    capture_start(&c);
    pid_t pid = fork();
    if (pid == 0) {
        __assert_fail("what", "file.c", 47, "function");
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    capture_end(&c, said, sizeof said);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(said, "file.c:47: function: "));
    assert_non_null(strstr(said, "what"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_fails_once),
        cmocka_unit_test(test_other_assertions),
    };
    return cmocka_run_group_tests_name("fcgi_os", tests, NULL, NULL);
}
