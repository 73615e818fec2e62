/*
 * test_log_file.c - os/log_file: opening, renaming, opening again
 */
#include "unit.h"

#include "os/log_file.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

static char folder[] = "/tmp/wsgi-cgi-unit.XXXXXX";
static char home[PATH_MAX];

static int
setup(void **state UNUSED)
{
    (void)strcpy(folder + sizeof(folder) - 7, "XXXXXX");
    assert_non_null(getcwd(home, sizeof(home)));
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    return 0;
}

static int
teardown(void **state UNUSED)
{
    static const char *const names[] = {"log", "log.1", "pipe"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        (void)unlink(names[i]);
    }
    (void)rmdir("sub");
    assert_int_equal(chdir(home), 0);
    assert_int_equal(rmdir(folder), 0);
    return 0;
}

static void
say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void
expect(const char *path, const char *want)
{
    char got[200];
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, got, sizeof(got) - 1);
    assert_true(n >= 0);
    got[n] = '\0';
    assert_string_equal(got, want);
    (void)close(fd);
}

static int
flags_of(int fd)
{
    return fcntl(fd, F_GETFL) & (O_APPEND | O_NONBLOCK | O_ACCMODE);
}

static void
test_rotation(void **state UNUSED)
{
    struct log_file f;
    struct stat st;
    mode_t mask = umask(0);
    assert_int_equal(log_file_open(&f, "log", geteuid()), 0);
    (void)umask(mask);
    assert_int_equal(fstat(f.fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_true(f.is_made);
    assert_int_equal(log_file_chown(&f, getuid(), getgid()), 0);
    assert_int_equal(flags_of(f.fd), O_APPEND | O_WRONLY);
    assert_int_equal(fcntl(f.fd, F_GETFD), FD_CLOEXEC);
    say(f.fd, "one\n");
    assert_false(log_file_has_moved(&f));
    assert_int_equal(rename("log", "log.1"), 0);
    assert_true(log_file_has_moved(&f));
    say(f.fd, "two\n");
    int fd = f.fd;
    /* A relative path is one of the start's folder, wherever we are by now. */
    assert_int_equal(mkdir("sub", 0700), 0);
    assert_int_equal(chdir("sub"), 0);
    assert_int_equal(log_file_reopen(&f), 0);
    assert_int_equal(chdir(".."), 0);
    assert_int_equal(f.fd, fd); /* for writers that know the number only */
    assert_int_equal(fcntl(f.fd, F_GETFD), FD_CLOEXEC);
    assert_false(log_file_has_moved(&f));
    say(fd, "three\n");
    expect("log.1", "one\ntwo\n");
    expect("log", "three\n");
    log_file_fini(&f);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(f.fd, -1);
}

static void
test_what_was_there_is_not_given_away(void **state UNUSED)
{
    struct log_file f;
    assert_int_equal(close(open("log", O_CREAT | O_WRONLY, 0600)), 0);
    assert_int_equal(log_file_open(&f, "log", geteuid()), 0);
    assert_false(f.is_made);
    assert_int_equal(log_file_chown(&f, getuid() + 1, getgid()), 0);
    struct stat st;
    assert_int_equal(stat("log", &st), 0);
    assert_int_equal(st.st_uid, getuid());
    log_file_fini(&f);
}

static void
test_a_link_to_what_is_not_there(void **state UNUSED)
{
    struct log_file f;
    assert_int_equal(symlink("log.1", "log"), 0);
    assert_int_equal(log_file_open(&f, "log", geteuid()), 0);
    assert_false(f.is_made); /* it is where the link leads */
    say(f.fd, "there\n");
    expect("log.1", "there\n");
    log_file_fini(&f);
}

static void
test_a_path_that_cannot_be_opened_again(void **state UNUSED)
{
    struct log_file f;
    assert_int_equal(mkdir("sub", 0700), 0);
    assert_int_equal(log_file_open(&f, "sub/log", geteuid()), 0);
    assert_int_equal(rename("sub/log", "log.1"), 0);
    assert_int_equal(rmdir("sub"), 0);
    assert_int_equal(log_file_reopen(&f), -ENOENT);
    say(f.fd, "goes on\n");
    expect("log.1", "goes on\n");
    log_file_fini(&f);
}

static void
test_a_file_that_is_open_already(void **state UNUSED)
{
    struct log_file f;
    assert_int_equal(mkdir("sub", 0700), 0);
    int fd = open("sub/log", O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    assert_int_equal(log_file_adopt(&f, "sub/log", fd), 0);
    assert_false(f.is_made);
    assert_false(log_file_has_moved(&f));
    assert_int_equal(rename("sub/log", "log.1"), 0);
    assert_true(log_file_has_moved(&f));
    /* Where it cannot be looked at nothing is known. */
    assert_int_equal(rmdir("sub"), 0);
    assert_int_equal(symlink("sub", "sub"), 0);
    assert_false(log_file_has_moved(&f));
    assert_int_equal(unlink("sub"), 0);
    assert_int_equal(mkdir("sub", 0700), 0);
    assert_int_equal(log_file_reopen(&f), 0);
    say(f.fd, "new\n");
    expect("sub/log", "new\n");
    assert_int_equal(f.fd, fd);
    assert_int_equal(unlink("sub/log"), 0);
    log_file_fini(&f);
}

static void
test_a_path_that_is_no_file(void **state UNUSED)
{
    struct log_file f;
    assert_int_equal(log_file_open(&f, ".", geteuid()), -EISDIR);
    assert_int_equal(f.fd, -1);
    log_file_fini(&f);
    /* What could not be opened may be later. */
    assert_int_equal(log_file_open(&f, "sub/log", geteuid()), -ENOENT);
    assert_true(log_file_has_moved(&f));
    assert_int_equal(mkdir("sub", 0700), 0);
    assert_int_equal(log_file_reopen(&f), 0);
    say(f.fd, "at last\n");
    expect("sub/log", "at last\n");
    assert_int_equal(unlink("sub/log"), 0);
    log_file_fini(&f);
}

static void
test_a_pipe(void **state UNUSED)
{
    struct log_file f;
    assert_int_equal(mkfifo("pipe", 0600), 0);
    assert_int_equal(log_file_open(&f, "pipe", geteuid()),
                     -ENXIO); /* and no wait */
    log_file_fini(&f);
    int reader = open("pipe", O_RDONLY | O_NONBLOCK);
    assert_int_equal(log_file_open(&f, "pipe", geteuid()), 0);
    assert_int_equal(flags_of(f.fd), O_APPEND | O_WRONLY);
    assert_int_equal(unlink("pipe"), 0);
    assert_false(log_file_has_moved(&f));
    assert_int_equal(log_file_reopen(&f), 0);
    assert_int_not_equal(access("pipe", F_OK), 0); /* nothing was made */
    log_file_fini(&f);
    (void)close(reader);
}

/* fd 2 and what follows it, in place of the test's own. */
static void
take_stderr(bool together)
{
    struct log_file f;
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
    (void)fflush(stdout);
    assert_true(dup2(together ? err : out, STDOUT_FILENO) >= 0);
    int null = open("/dev/null", O_RDWR);
    assert_true(dup2(null, STDERR_FILENO) >= 0);
    if (together) {
        assert_true(dup2(null, STDOUT_FILENO) >= 0);
    }
    (void)close(null);

    int e = log_file_open(&f, "log", geteuid());
    e = e == 0 ? log_file_take_stderr(&f) : e;
    bool cloexec = (fcntl(STDERR_FILENO, F_GETFD) & FD_CLOEXEC) != 0;
    say(STDERR_FILENO, "one\n");
    if (together) {
        say(STDOUT_FILENO, "out\n");
    }
    (void)rename("log", "log.1");
    e = e == 0 ? log_file_reopen(&f) : e;
    say(STDERR_FILENO, "two\n");
    if (together) {
        say(STDOUT_FILENO, "out\n");
    }
    (void)dup2(out, STDOUT_FILENO);
    (void)dup2(err, STDERR_FILENO);
    (void)close(out);
    (void)close(err);
    f.fd = -1;
    log_file_fini(&f);
    assert_int_equal(e, 0);
    assert_false(cloexec); /* children have it, too */
    expect("log.1", together ? "one\nout\n" : "one\n");
    expect("log", together ? "two\nout\n" : "two\n");
}

static void
test_stderr_and_what_follows_it(void **state UNUSED)
{
    take_stderr(true);
}

static void
test_stdout_of_its_own_stays(void **state UNUSED)
{
    take_stderr(false);
}

static off_t
size_of(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return st.st_size;
}

static void
test_cut(void **state UNUSED)
{
    char line[16], got[200];
    int fd = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600);

    assert_true(fd >= 0);
    for (int i = 0; i < 10; i++) {
        (void)snprintf(line, sizeof line, "line %d\n", i); /* 7 bytes */
        say(fd, line);
    }
    assert_int_equal(log_file_cut(fd, 70, 30), 0); /* no more than most */
    assert_int_equal(size_of(fd), 70);
    assert_int_equal(unlink("log"), 0); /* the name does not matter */
    assert_int_equal(log_file_cut(fd, 69, 30), 0);
    assert_int_equal(size_of(fd), 28);
    say(fd, "new\n");
    (void)snprintf(got, sizeof got, "/proc/self/fd/%d", fd);
    expect(got, "line 6\nline 7\nline 8\nline 9\nnew\n");
    for (int i = 0; i < 10000; i++) {
        say(fd, "0123456789");
    }
    assert_int_equal(log_file_cut(fd, 40, 30), 0); /* no line is whole */
    assert_int_equal(size_of(fd), 0);
    assert_int_equal(close(fd), 0);

    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(log_file_cut(pipe_fds[1], 1, 1), 0);
    assert_int_equal(close(pipe_fds[0]), 0);
    assert_int_equal(close(pipe_fds[1]), 0);
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_cut),
        TEST(test_rotation),
        TEST(test_what_was_there_is_not_given_away),
        TEST(test_a_link_to_what_is_not_there),
        TEST(test_a_path_that_cannot_be_opened_again),
        TEST(test_a_file_that_is_open_already),
        TEST(test_a_path_that_is_no_file),
        TEST(test_a_pipe),
        TEST(test_stderr_and_what_follows_it),
        TEST(test_stdout_of_its_own_stays),
    };
    return cmocka_run_group_tests_name("log_file", tests, NULL, NULL);
}
