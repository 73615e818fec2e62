/*
 * test_path_absolute.c - os/path_absolute: what comes before a relative path
 */
#include "unit.h"

#include "os/path_absolute.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

static char cwd[PATH_MAX];

/* wanted: of a relative path, what follows the current directory. */
static void
expect(const char *path, const char *wanted, const char *trimmed)
{
    char to[PATH_MAX], all[2 * PATH_MAX];
    const char *before = path[0] == '/' ? "" : cwd;

    assert_int_equal(path_absolute(path, to, sizeof to), 0);
    (void)snprintf(all, sizeof all, "%s%s", before, wanted);
    assert_string_equal(to, all);
    assert_int_equal(path_absolute_trimmed(path, to, sizeof to), 0);
    (void)snprintf(all, sizeof all, "%s%s", before, trimmed);
    assert_string_equal(to, all);
}

static void
test_forms(void **state UNUSED)
{
    expect("/", "/", "/");
    expect("//", "//", "/");
    expect("/a", "/a", "/a");
    expect("/a//", "/a//", "/a");
    expect("/a/../b", "/a/../b", "/a/../b");
    expect("a", "/a", "/a");
    expect("a/", "/a/", "/a");
    expect("./a", "/a", "/a");
    expect(".//./a", "/a", "/a");
    expect("../a", "/../a", "/../a");
    expect(".a", "/.a", "/.a");
    expect(".", "", "");
    expect("./", "", "");
}

static void
test_in_the_root(void **state UNUSED)
{
    char to[PATH_MAX];

    assert_int_equal(chdir("/"), 0);
    assert_int_equal(path_absolute("a", to, sizeof to), 0);
    assert_string_equal(to, "/a");
    assert_int_equal(path_absolute(".", to, sizeof to), 0);
    assert_string_equal(to, "/");
    assert_int_equal(chdir(cwd), 0);
}

static void
test_length(void **state UNUSED)
{
    char to[8];

    assert_int_equal(path_absolute("/123456", to, sizeof to), 0);
    assert_int_equal(path_absolute("/1234567", to, sizeof to), -ENAMETOOLONG);
    assert_int_equal(path_absolute_trimmed("/1234567", to, sizeof to),
                     -ENAMETOOLONG);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_in_the_root),
        cmocka_unit_test(test_length),
    };
    if (getcwd(cwd, sizeof cwd) == NULL) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
