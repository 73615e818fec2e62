/*
 * test_fd.c - os/fd: what is closed at start, CLOEXEC, listening or not (F2)
 */
#include "unit.h"

#include "os/fd.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

/* Our own in place of the C library's: a root folder without /dev. */
static bool no_dev;

int
open(const char *path, int flags, ...)
{
    if (no_dev && strncmp(path, "/dev/", 5) == 0) {
        errno = ENOENT;
        return -1;
    }
    va_list ap;
    va_start(ap, flags);
    int (*real)(const char *, int, mode_t);
    *(void **)&real = dlsym(RTLD_NEXT, "open");
    int fd = real(path, flags, (flags & O_CREAT) != 0 ? va_arg(ap, mode_t) : 0);
    va_end(ap);
    return fd;
}

static bool
has_cloexec(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    assert_true(flags >= 0);
    return (flags & FD_CLOEXEC) != 0;
}

static void
test_close_is_idempotent_and_keeps_errno(void **state UNUSED)
{
    int fd = open("/dev/null", O_RDONLY);
    assert_true(fd >= 0);
    int number = fd;
    errno = EPERM;
    fd_close(&fd);
    assert_int_equal(fd, -1);
    assert_int_equal(fcntl(number, F_GETFD), -1);
    errno = EPERM;
    fd_close(&fd);
    assert_int_equal(fd, -1);
    assert_int_equal(errno, EPERM);
    fd = 1000000; /* not open: close() fails */
    fd_close(&fd);
    assert_int_equal(fd, -1);
    assert_int_equal(errno, EPERM);
}

/* In a child with the fds of set closed (C24, F1): 0 is right. */
static int
sanitize_in_child(unsigned set, bool without_dev)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        for (int fd = 0; fd <= 2; fd++) {
            if ((set & 1U << fd) != 0) {
                (void)close(fd);
            }
        }
        unsigned was_closed = 77;
        no_dev = without_dev;
        if (fd_sanitize(&was_closed) != 0 || was_closed != set) {
            _exit(1);
        }
        for (int fd = 0; fd <= 2; fd++) {
            char c = 'x';
            int flags = fcntl(fd, F_GETFD);
            if (flags < 0 || (flags & FD_CLOEXEC) != 0) {
                _exit(2);
            }
            if ((set & 1U << fd) != 0 &&
                (read(fd, &c, 1) != 0 ||
                 write(fd, &c, 1) != (without_dev ? -1 : 1))) {
                _exit(3); /* not /dev/null, or one way only */
            }
        }
        no_dev = false;
        int next = open("/dev/null", O_RDONLY);
        _exit(next > 2 ? 0 : 4);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void
test_closed_standard_fds_become_dev_null(void **state UNUSED)
{
    for (unsigned set = 0; set < 8; set++) {
        for (int without_dev = 0; without_dev <= 1; without_dev++) {
            int status = sanitize_in_child(set, without_dev != 0);
            if (status != 0) {
                fail_msg("closed %u, %d: status %d", set, without_dev, status);
            }
        }
    }
}

static void
test_null(void **state UNUSED)
{
    char c;
    for (int without_dev = 0; without_dev <= 1; without_dev++) {
        no_dev = without_dev != 0;
        int fd = fd_open_null();
        no_dev = false;
        assert_true(fd >= 0 && has_cloexec(fd));
        assert_int_equal(read(fd, &c, 1), 0);
        errno = 0;
        assert_int_equal(write(fd, "x", 1), without_dev != 0 ? -1 : 1);
        assert_int_equal(errno, without_dev != 0 ? EBADF : 0);
        (void)close(fd);
    }
}

static void
test_dup_high(void **state UNUSED)
{
    int fd = fd_dup_high(0);
    assert_true(fd >= 3);
    assert_true(has_cloexec(fd));
    assert_true(fd_same(0, fd));
    fd_close(&fd);
    assert_int_equal(fd_dup_high(-1), -EBADF);
    assert_int_equal(fd_dup_high(1000000), -EBADF);
}

static void
test_redirect(void **state UNUSED)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int target = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    assert_true(null_fd >= 0 && target >= 0);
    assert_false(fd_same(null_fd, target));
    assert_int_equal(fd_redirect(null_fd, target), 0);
    assert_true(fd_same(null_fd, target));
    assert_false(has_cloexec(target));
    /* onto itself: must be inherited too */
    assert_int_equal(fd_redirect(null_fd, null_fd), 0);
    assert_false(has_cloexec(null_fd));
    assert_int_equal(fd_redirect(1000000, target), -EBADF);
    assert_int_equal(fd_redirect(1000000, 1000000), -EBADF);
    fd_close(&null_fd);
    fd_close(&target);
}

static void
test_same(void **state UNUSED)
{
    int a[2];
    int b[2];
    assert_int_equal(pipe(a), 0);
    assert_int_equal(pipe(b), 0);
    assert_true(fd_same(a[0], a[1])); /* the two ends of one pipe */
    assert_false(fd_same(a[0], b[0]));
    assert_false(fd_same(a[0], -1));
    assert_false(fd_same(-1, -1));
    for (int i = 0; i < 2; i++) {
        fd_close(&a[i]);
        fd_close(&b[i]);
    }
}

static int
socket_bound(int family, bool listening)
{
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd < 0) {
        return -1;
    }
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } a = {.any.sa_family = (sa_family_t)family};
    socklen_t size = family == AF_INET    ? sizeof(a.in)
                     : family == AF_INET6 ? sizeof(a.in6)
                                          : sizeof(sa_family_t); /* autobind */
    if (bind(fd, &a.any, size) < 0 || (listening && listen(fd, 1) < 0)) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static void
test_listening(void **state UNUSED)
{
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6};
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        int fd = socket_bound(families[i], true);
        if (fd < 0 && families[i] == AF_INET6) {
            continue; /* a machine without IPv6 */
        }
        assert_true(fd >= 0);
        assert_true(fd_is_listening(fd));
        fd_close(&fd);
        fd = socket_bound(families[i], false); /* bound is not listening */
        assert_true(fd >= 0);
        assert_false(fd_is_listening(fd));
        fd_close(&fd);
    }
}

static void
test_not_listening(void **state UNUSED)
{
    int pair[2];
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(pipe(ends), 0);
    int fds[] = {pair[0],
                 ends[0],
                 socket(AF_INET, SOCK_DGRAM, 0),
                 open("/dev/null", O_RDONLY),
                 open("/proc/self/exe", O_RDONLY),
                 -1,
                 1000000};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        assert_false(fd_is_listening(fds[i]));
    }
    for (size_t i = 0; i < 5; i++) {
        assert_true(fds[i] >= 0);
        fd_close(&fds[i]);
    }
    fd_close(&pair[1]);
    fd_close(&ends[1]);
}

static void
test_nonblock(void **state UNUSED)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    for (int twice = 0; twice < 2; twice++) {
        assert_int_equal(fd_set_nonblock(ends[0]), 0);
        char c;
        assert_int_equal(read(ends[0], &c, 1), -1);
        assert_int_equal(errno, EAGAIN);
    }
    fd_close(&ends[0]);
    fd_close(&ends[1]);
    assert_int_equal(fd_set_nonblock(1000000), -EBADF);
}

static void
test_temporary(void **state UNUSED)
{
    char folder[] = "/tmp/wsgi-cgi-unit.XXXXXX", name[2][20];
    int fd[2];
    assert_non_null(mkdtemp(folder));
    int folder_fd = open(folder, O_RDONLY | O_DIRECTORY);
    assert_true(folder_fd >= 0);
    for (int i = 0; i < 2; i++) {
        struct stat st;
        (void)strcpy(name[i], "pid.XXXXXX");
        fd[i] = fd_make_temporary(folder_fd, name[i]);
        assert_true(fd[i] >= 0 && has_cloexec(fd[i]));
        assert_int_equal(fstatat(folder_fd, name[i], &st, 0), 0);
        assert_int_equal(st.st_mode, S_IFREG | 0600);
        assert_int_equal(strncmp(name[i], "pid.", 4), 0);
        assert_int_equal(write(fd[i], "x", 1), 1);
        (void)close(fd[i]);
    }
    assert_string_not_equal(name[0], name[1]);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(unlinkat(folder_fd, name[i], 0), 0);
    }
    assert_int_equal(rmdir(folder), 0);
    (void)strcpy(name[0], "pid.XXXXXX"); /* in a folder that is gone */
    assert_int_equal(fd_make_temporary(folder_fd, name[0]), -ENOENT);
    (void)close(folder_fd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_close_is_idempotent_and_keeps_errno),
        cmocka_unit_test(test_closed_standard_fds_become_dev_null),
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_dup_high),
        cmocka_unit_test(test_redirect),
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_listening),
        cmocka_unit_test(test_not_listening),
        cmocka_unit_test(test_nonblock),
        cmocka_unit_test(test_temporary),
    };
    return cmocka_run_group_tests_name("fd", tests, NULL, NULL);
}
