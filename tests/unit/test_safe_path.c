/*
 * test_safe_path.c - os/safe_path: the links that root follows, and the owners
 *                    of files that it accepts
 *
 * The owners are simulated, so that the test does not need root: every file is
 * root's, except those of give(). Modes, links and names are real.
 */
#include "unit.h"

#include "os/safe_path.h"

#include <dlfcn.h>
#include <errno.h>
#include <sys/stat.h>

enum { ROOT = 0, USER = 1001, STRANGER = 1002, GIVEN_MAX = 12 };

static uid_t euid;      /* ours */
static uid_t top_owner; /* of "/" */
static struct {
    ino_t ino;
    uid_t uid;
} given[GIVEN_MAX];
static size_t ngiven;

static int
pretend(int result, struct stat *st)
{
    st->st_uid = ROOT;
    for (size_t i = 0; result == 0 && i < ngiven; i++) {
        if (given[i].ino == st->st_ino) {
            st->st_uid = given[i].uid;
        }
    }
    return result;
}

/* Our own in place of the C library's. */
uid_t
geteuid(void)
{
    return euid;
}

int
fstat(int fd, struct stat *st)
{
    int (*real)(int, struct stat *);
    *(void **)&real = dlsym(RTLD_NEXT, "fstat");
    return pretend(real(fd, st), st);
}

int
fstatat(int fd, const char *path, struct stat *st, int flags)
{
    int (*real)(int, const char *, struct stat *, int);
    *(void **)&real = dlsym(RTLD_NEXT, "fstatat");
    return pretend(real(fd, path, st, flags), st);
}

int
stat(const char *path, struct stat *st)
{
    int r = fstatat(AT_FDCWD, path, st, 0);
    if (strcmp(path, "/") == 0) {
        st->st_uid = top_owner;
    }
    return r;
}

static char folder[] = "/tmp/wsgi-cgi-unit.XXXXXX";
static char home[PATH_MAX];

static int
setup(void **state UNUSED)
{
    euid = top_owner = ROOT;
    ngiven = 0;
    (void)strcpy(folder + sizeof(folder) - 7, "XXXXXX");
    assert_non_null(getcwd(home, sizeof(home)));
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(mkdir("target", 0755), 0);
    return 0;
}

static int
teardown(void **state UNUSED)
{
    char command[100];
    assert_int_equal(chdir(home), 0);
    (void)snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command); /* a name of our own making */
}

static void
give(const char *path, uid_t uid)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    assert_true(ngiven < GIVEN_MAX);
    given[ngiven].ino = st.st_ino;
    given[ngiven++].uid = uid;
}

static void
make_folder(const char *path, mode_t mode, uid_t owner)
{
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, mode), 0);
    give(path, owner);
}

static void
make_file(const char *path, uid_t owner)
{
    assert_int_equal(close(open(path, O_CREAT | O_EXCL | O_WRONLY, 0600)), 0);
    give(path, owner);
}

static const char *
absolute(const char *path)
{
    static char all[PATH_MAX];
    (void)snprintf(all, sizeof(all), "%s/%s", folder, path);
    return all;
}

static int
find(struct safe_path *p, const char *path)
{
    return safe_path_find(p, absolute(path), USER);
}

/* What becomes of a file there: 0 or -errno. */
static int
use(const char *path, int flags)
{
    struct safe_path p;
    int e = find(&p, path);
    if (e < 0) {
        return e;
    }
    int fd = safe_path_open(&p, O_WRONLY | O_NONBLOCK | flags, 0600);
    safe_path_close(&p);
    return fd < 0 ? fd : close(fd);
}

static bool
is_in_target(const char *name)
{
    char path[100];
    struct stat st;
    (void)snprintf(path, sizeof(path), "target/%s", name);
    return lstat(path, &st) == 0;
}

static void
test_links_of_root_alone_are_followed(void **state UNUSED)
{
    struct safe_path p;
    assert_int_equal(symlink("target", "way"), 0);
    assert_int_equal(symlink("target/file", "file"), 0);
    assert_int_equal(find(&p, "way/other"), 0);
    assert_string_equal(p.name, "other");
    assert_false(p.is_exposed || p.is_folder_exposed || p.is_linked ||
                 p.is_sticky || p.is_descriptor);
    safe_path_close(&p);
    assert_int_equal(p.folder_fd, -1);
    assert_int_equal(find(&p, "file"), 0);
    assert_true(p.is_linked);
    assert_false(p.is_exposed);
    safe_path_close(&p);
    assert_int_equal(use("way/other", O_CREAT), 0);
    assert_int_equal(use("file", O_CREAT), 0);
    assert_int_equal(use(".//way/../target/./third", O_CREAT), 0);
    assert_true(is_in_target("other") && is_in_target("file") &&
                is_in_target("third"));
    assert_int_equal(use("way/none", 0), -ENOENT);
    assert_int_equal(use("target/", 0), -EISDIR);
}

static void
test_the_folder_of_another(void **state UNUSED)
{
    struct safe_path p;
    make_folder("theirs", 0755, STRANGER);
    assert_int_equal(symlink("../target", "theirs/way"), 0);
    assert_int_equal(symlink("../target/file", "theirs/file"), 0);
    assert_int_equal(use("theirs/way/file", O_CREAT), -EXDEV);
    assert_int_equal(use("theirs/file", O_CREAT), -EXDEV);
    assert_false(is_in_target("file"));
    assert_int_equal(find(&p, "theirs/new"), 0);
    assert_true(p.is_exposed);
    assert_false(p.is_folder_exposed || p.is_sticky);
    safe_path_close(&p);
    /* A directory in it is not safer, whoever owns it. */
    make_folder("theirs/below", 0755, ROOT);
    assert_int_equal(symlink("../../target/file", "theirs/below/file"), 0);
    assert_int_equal(use("theirs/below/file", O_CREAT), -EXDEV);
    assert_int_equal(find(&p, "theirs/below/new"), 0);
    assert_true(p.is_exposed && p.is_folder_exposed);
    safe_path_close(&p);
    make_file("theirs/log", STRANGER);       /* his directory */
    make_file("theirs/third", STRANGER + 1); /* whom he lets write there */
    assert_int_equal(use("theirs/log", 0), 0);
    assert_int_equal(use("theirs/third", 0), 0);
    assert_int_equal(use("theirs/new", O_CREAT), 0);
}

static void
test_a_shared_folder(void **state UNUSED)
{
    static const mode_t modes[] = {0775, 0757, 0777};
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        char name[20], path[40];
        (void)snprintf(name, sizeof(name), "shared%zu", i);
        make_folder(name, modes[i], ROOT);
        (void)snprintf(path, sizeof(path), "%s/file", name);
        assert_int_equal(symlink("../target/file", path), 0);
        assert_int_equal(use(path, O_CREAT), -EXDEV); /* root's or not */
    }
    assert_false(is_in_target("file"));
}

/* Entries of others are not root's there, only root's are. */
static void
test_links_in_a_sticky_folder(void **state UNUSED)
{
    make_folder("sticky", 01777, ROOT);
    assert_int_equal(symlink("../target/one", "sticky/root"), 0);
    assert_int_equal(symlink("../target/two", "sticky/stranger"), 0);
    assert_int_equal(symlink("../target", "sticky/way"), 0);
    give("sticky/stranger", STRANGER);
    give("sticky/way", USER);
    assert_int_equal(use("sticky/root", O_CREAT), 0);
    assert_int_equal(use("sticky/stranger", O_CREAT), -EXDEV);
    assert_int_equal(use("sticky/way/two", O_CREAT), -EXDEV);
    assert_true(is_in_target("one"));
    assert_false(is_in_target("two"));
    make_folder("theirs", 01777, STRANGER); /* sticky, but his */
    assert_int_equal(symlink("../target/two", "theirs/root"), 0);
    assert_int_equal(use("theirs/root", O_CREAT), -EXDEV);
}

static void
test_files_in_a_sticky_folder(void **state UNUSED)
{
    static const mode_t modes[] = {01777, 01770};
    struct safe_path p;
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        make_folder("sticky", modes[i], ROOT);
        make_file("sticky/root", ROOT);
        make_file("sticky/user", USER);
        make_file("sticky/stranger", STRANGER);
        assert_int_equal(mkfifo("sticky/fifo", 0622), 0);
        give("sticky/fifo", STRANGER);
        int reader = open("sticky/fifo", O_RDONLY | O_NONBLOCK);
        assert_true(reader >= 0);
        assert_int_equal(use("sticky/root", 0), 0);
        assert_int_equal(use("sticky/user", 0), 0);
        assert_int_equal(use("sticky/stranger", 0), -EUSERS);
        assert_int_equal(use("sticky/stranger", O_CREAT), -EUSERS);
        assert_int_equal(use("sticky/fifo", 0), -EUSERS);
        assert_int_equal(use("sticky/new", O_CREAT), 0);
        (void)close(reader);
        assert_int_equal(find(&p, "sticky/root"), 0);
        assert_false(p.is_exposed); /* nobody can rename it */
        safe_path_close(&p);
        assert_int_equal(find(&p, "sticky/none"), 0);
        assert_true(p.is_exposed && p.is_sticky);
        safe_path_close(&p);
        assert_int_equal(rename("sticky", "old"), 0);
        assert_int_equal(system("rm -r old"), 0);
        ngiven = 0;
    }
    make_folder("theirs", 01777, STRANGER);
    make_file("theirs/stranger", STRANGER); /* of the folder's owner */
    assert_int_equal(use("theirs/stranger", 0), 0);
}

static void
test_a_folder_made_in_a_sticky_one(void **state UNUSED)
{
    make_folder("sticky", 01777, ROOT);
    make_folder("sticky/stranger", 0755, STRANGER);
    make_folder("sticky/user", 0755, USER);
    make_file("sticky/stranger/stranger", STRANGER);
    make_file("sticky/stranger/root", ROOT);
    make_file("sticky/user/user", USER);
    assert_int_equal(use("sticky/stranger/stranger", 0), -EUSERS);
    assert_int_equal(use("sticky/stranger/root", 0), 0);
    assert_int_equal(use("sticky/user/user", 0), 0);
    make_file("sticky/user/other",
              STRANGER); /* whom the user lets write there */
    assert_int_equal(use("sticky/user/other", 0), 0);
    make_folder("theirs", 01777, STRANGER);
    make_folder("theirs/below", 0755, STRANGER);
    make_file("theirs/below/log", STRANGER);
    assert_int_equal(use("theirs/below/log", 0), 0);
}

static void
test_a_second_name(void **state UNUSED)
{
    make_folder("theirs", 0755, STRANGER);
    make_file("target/file", ROOT);
    assert_int_equal(link("target/file", "theirs/log"), 0);
    assert_int_equal(use("theirs/log", 0), -EMLINK);
    assert_int_equal(use("target/file", 0), 0); /* there only root could */
    assert_int_equal(unlink("target/file"), 0);
    assert_int_equal(use("theirs/log", 0), 0);
}

/* In a sticky directory nobody can rename a file of root, but another user can
 * make a hard link to one from elsewhere; not to a directory. */
static void
test_a_second_name_in_a_sticky_folder(void **state UNUSED)
{
    make_folder("sticky", 01777, ROOT);
    make_file("target/file", ROOT);
    assert_int_equal(symlink("../target/two", "target/link"), 0);
    assert_int_equal(link("target/file", "sticky/log"), 0);
    assert_int_equal(link("target/link", "sticky/link"), 0);
    assert_int_equal(use("sticky/log", 0), -EMLINK);
    assert_int_equal(use("sticky/log", O_CREAT), -EMLINK);
    assert_int_equal(use("sticky/link", O_CREAT), -EXDEV);
    assert_false(is_in_target("two"));
    make_folder("sticky/folder", 0755, ROOT);
    make_folder("sticky/folder/below", 0755, ROOT);
    assert_int_equal(symlink("../../target/one", "sticky/folder/link"), 0);
    assert_int_equal(use("sticky/folder/link", O_CREAT), 0);
}

/* A directory that is replaced after the walk changes nothing. */
static void
test_swapped_in_between(void **state UNUSED)
{
    struct safe_path p;
    make_folder("theirs", 0755, STRANGER);
    assert_int_equal(find(&p, "theirs/log"), 0);
    assert_int_equal(symlink("../target/file", "theirs/log"), 0);
    assert_int_equal(safe_path_open(&p, O_WRONLY | O_CREAT, 0600), -EXDEV);
    assert_int_equal(unlink("theirs/log"), 0);
    assert_int_equal(rename("theirs", "moved"), 0);
    assert_int_equal(symlink("target", "theirs"), 0);
    assert_int_equal(close(safe_path_open(&p, O_WRONLY | O_CREAT, 0600)), 0);
    safe_path_close(&p);
    assert_false(is_in_target("file") || is_in_target("log"));
    assert_int_equal(access("moved/log", F_OK), 0);
}

/* In a user namespace "/" may belong to another user than root. */
static void
test_the_owner_of_the_top(void **state UNUSED)
{
    make_folder("theirs", 0755, STRANGER);
    assert_int_equal(symlink("../target/file", "theirs/file"), 0);
    assert_int_equal(use("theirs/file", O_CREAT), -EXDEV);
    top_owner = STRANGER;
    assert_int_equal(use("theirs/file", O_CREAT), 0);
    make_folder("sticky", 01777, ROOT);
    make_file("sticky/log", STRANGER);
    assert_int_equal(use("sticky/log", 0), 0);
}

static void
test_too_many_and_too_long(void **state UNUSED)
{
    struct safe_path p;
    static char path[PATH_MAX + 10];
    char to[20] = "target/file", name[20];
    for (int i = 0; i <= 40; i++) {
        (void)snprintf(name, sizeof(name), "link%d", i);
        assert_int_equal(symlink(to, name), 0);
        (void)strcpy(to, name);
    }
    assert_int_equal(use("link39", O_CREAT), 0); /* 40, as open() */
    assert_int_equal(use("link40", O_CREAT), -ELOOP);
    (void)memset(path, 'x', PATH_MAX);
    path[0] = '/';
    assert_int_equal(safe_path_find(&p, path, USER), -ENAMETOOLONG);
    path[NAME_MAX + 2] = '\0';
    assert_int_equal(safe_path_find(&p, path, USER), -ENAMETOOLONG);
    assert_int_equal(p.folder_fd, -1);
}

static void
test_descriptors(void **state UNUSED)
{
    struct safe_path p;
    assert_int_equal(safe_path_find(&p, "/proc/self/fd/1", USER), 0);
    assert_true(p.is_descriptor);
    int fd = safe_path_open(&p, O_WRONLY, 0);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    safe_path_close(&p);
    assert_int_equal(find(&p, "target/file"), 0);
    assert_false(p.is_descriptor);
    safe_path_close(&p);
}

static void
test_who_is_not_root(void **state UNUSED)
{
    struct safe_path p;
    euid = USER;
    make_folder("theirs", 0755, STRANGER);
    assert_int_equal(symlink("../target/file", "theirs/file"), 0);
    assert_int_equal(find(&p, "theirs/file"), 0);
    assert_int_equal(p.folder_fd, AT_FDCWD);
    assert_string_equal(p.name, absolute("theirs/file"));
    assert_false(p.is_exposed);
    safe_path_close(&p);
    assert_int_equal(use("theirs/file", O_CREAT), 0); /* it is open() */
    assert_true(is_in_target("file"));
    assert_int_equal(safe_path_enter("theirs/../target"), 0);
}

static void
expect_here(const char *path)
{
    struct stat here, there;
    assert_int_equal(lstat(".", &here), 0);
    assert_int_equal(lstat(absolute(path), &there), 0);
    assert_int_equal(here.st_ino, there.st_ino);
}

static void
test_enter(void **state UNUSED)
{
    make_folder("theirs", 0755, STRANGER);
    assert_int_equal(symlink("../target", "theirs/way"), 0);
    assert_int_equal(symlink("target", "way"), 0);
    make_file("file", ROOT);
    assert_int_equal(safe_path_enter("theirs/way"), -EXDEV);
    assert_int_equal(safe_path_enter(absolute("theirs/way")), -EXDEV);
    assert_int_equal(safe_path_enter("none"), -ENOENT);
    assert_int_equal(safe_path_enter("file"), -ENOTDIR);
    expect_here("");
    assert_int_equal(safe_path_enter("way"), 0);
    expect_here("target");
    assert_int_equal(safe_path_enter("../theirs"), 0);
    expect_here("theirs");
    assert_int_equal(safe_path_enter("way"), -EXDEV);
    assert_int_equal(safe_path_enter(absolute("way/")), 0);
    expect_here("target");
}

static void
test_reasons(void **state UNUSED)
{
    static const int ours[] = {-EXDEV, -EMLINK, -EUSERS};
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
        assert_string_not_equal(safe_path_strerror(ours[i]),
                                strerror(-ours[i]));
    }
    assert_string_equal(safe_path_strerror(-ENOSPC), strerror(ENOSPC));
}

#define TEST(F) cmocka_unit_test_setup_teardown(F, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_links_of_root_alone_are_followed),
        TEST(test_the_folder_of_another),
        TEST(test_a_shared_folder),
        TEST(test_links_in_a_sticky_folder),
        TEST(test_files_in_a_sticky_folder),
        TEST(test_a_folder_made_in_a_sticky_one),
        TEST(test_a_second_name),
        TEST(test_a_second_name_in_a_sticky_folder),
        TEST(test_swapped_in_between),
        TEST(test_the_owner_of_the_top),
        TEST(test_too_many_and_too_long),
        TEST(test_descriptors),
        TEST(test_who_is_not_root),
        TEST(test_enter),
        TEST(test_reasons),
    };
    if (dlsym(RTLD_NEXT, "fstat") == NULL) { /* glibc 2.32: inline */
        (void)printf("[  SKIPPED ] there is no fstat() to put ours in place "
                     "of\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
