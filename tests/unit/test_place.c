/*
 * test_place.c - base/place: the same file as open() finds, or none
 */
#include "unit.h"

#include "base/place.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

static char folder[] = "/tmp/wsgi-cgi-unit.XXXXXX";

/* In the folder; a link where there is a target. In this order. */
static const struct {
    const char *name, *target;
} things[] = {
    {"sub", NULL},          {"sub/file", NULL},     {"link", "sub/file"},
    {"way", "sub"},         {"sub/back", "../way"}, {"dangling", "sub/none"},
    {"loop", "loop"},       {"out", "/dev/null"},   {"long", "sub/back/back"},
    {"deep", "way/back/.."}};

static int
setup(void **state UNUSED)
{
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(mkdir("sub", 0700), 0);
    assert_int_equal(close(open("sub/file", O_CREAT | O_WRONLY, 0600)), 0);
    for (size_t i = 0; i < ARRAY_SIZE(things); i++) {
        if (things[i].target != NULL) {
            assert_int_equal(symlink(things[i].target, things[i].name), 0);
        }
    }
    return 0;
}

static int
teardown(void **state UNUSED)
{
    for (size_t i = ARRAY_SIZE(things); i-- > 0;) {
        assert_int_equal(remove(things[i].name), 0);
    }
    assert_int_equal(chdir("/"), 0);
    return rmdir(folder);
}

/* What open() says: the same file, the same error. */
static void
compare(const char *path)
{
    struct place p;
    struct stat wanted, got;
    int plain = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    int e = plain < 0 ? -errno : 0;
    int fd = place_find(&p, path);

    if (fd == 0) {
        fd = place_open(&p, O_WRONLY | O_NONBLOCK | O_CLOEXEC, 0);
        place_close(&p);
        assert_int_equal(p.folder_fd, -1);
    }
    if (e != (fd < 0 ? fd : 0)) {
        fail_msg("%s: open() says %s, place_open() %s", path, strerror(-e),
                 fd < 0 ? place_strerror(fd) : "yes");
    }
    if (plain >= 0) {
        assert_int_equal(fstat(plain, &wanted), 0);
        assert_int_equal(fstat(fd, &got), 0);
        assert_int_equal(wanted.st_ino, got.st_ino);
        assert_int_equal(wanted.st_dev, got.st_dev);
        (void)close(plain);
        (void)close(fd);
    }
}

static void
test_paths(void **state UNUSED)
{
    static const char *const tails[] = {
        "",          "/",           "/.",         "/..",         "//file",
        "/sub/file", "/sub/./file", "/sub//file", "/file/",      "/none",
        "/none/x",   "/../link",    "/back/file", "/sub/../link"};
    char path[200];

    for (size_t i = 0; i < ARRAY_SIZE(things); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(tails); k++) {
            (void)snprintf(path, sizeof path, "%s/%s%s", folder, things[i].name,
                           tails[k]);
            compare(path);
        }
    }
    compare(folder);
    compare("/");
    compare("//");
    compare("/..");
    compare("/dev/null");
    compare("/proc/self/fd/2");
    compare("/proc/self");
}

static void
test_long_paths(void **state UNUSED)
{
    char path[PATH_MAX + 10];

    (void)memset(path, '/', sizeof path);
    for (size_t n = PATH_MAX - 20; n < sizeof path; n++) {
        memcpy(path + n - 9, "dev/null", 9);
        compare(path);
        path[n - 1] = '/';
    }
    (void)memset(path + 1, 'x', NAME_MAX + 1);
    path[NAME_MAX + 2] = '\0';
    compare(path);
    path[NAME_MAX + 1] = '\0';
    compare(path);
}

static void
test_descriptors(void **state UNUSED)
{
    static const struct {
        const char *path;
        bool is;
    } cases[] = {{"/dev/stdout", true},
                 {"/dev/fd/2", true},
                 {"/proc/self/fd/1", true},
                 {"/dev/null", false},
                 {"/proc/self/status", false}};
    struct place p;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(place_find(&p, cases[i].path), 0);
        assert_int_equal(p.is_descriptor, cases[i].is);
        place_close(&p);
    }
}

/* Only for root there is anything that must not be followed. */
static void
test_foreign_folder(void **state UNUSED)
{
    struct place p;
    char path[200];
    bool is_root = geteuid() == 0;

    (void)snprintf(path, sizeof path, "%s/link", folder);
    assert_int_equal(chmod(folder, 0777), 0);
    int e = place_find(&p, path);
    assert_int_equal(e, is_root ? -EXDEV : 0);
    if (e == 0) {
        place_close(&p);
    }
    /* Nobody can replace root's own link there. */
    assert_int_equal(chmod(folder, 01777), 0);
    compare(path);
    assert_int_equal(chmod(folder, 0700), 0);
    compare(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_long_paths),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_foreign_folder),
    };
    return cmocka_run_group_tests_name("place", tests, setup, teardown);
}
