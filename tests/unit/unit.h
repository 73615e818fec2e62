/*
 * unit.h - what every unit test includes: cmocka, and what goes to fd 2
 *
 * What:      cmocka's headers in the order it wants; capturing stderr.
 * Errors:    a failed step fails the test.                      Blocks: never.
 *
 * Words such as F15 or X4 in comments are rows of tests/CHECKLIST.md.
 */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* fd 2 while it is captured: a file that has no name. */
struct capture {
    int file_fd;
    int stderr_fd;
};

static inline void
capture_start(struct capture *c)
{
    char path[] = "/tmp/wsgi-cgi-unit.XXXXXX";
    c->file_fd = mkstemp(path);
    assert_true(c->file_fd >= 0);
    assert_int_equal(unlink(path), 0);
    c->stderr_fd = dup(STDERR_FILENO);
    assert_true(c->stderr_fd >= 0);
    assert_true(dup2(c->file_fd, STDERR_FILENO) >= 0);
}

/* Points fd 2 back and puts what went there into to, which is terminated. */
static inline void
capture_end(struct capture *c, char *to, size_t size)
{
    assert_true(dup2(c->stderr_fd, STDERR_FILENO) >= 0);
    (void)close(c->stderr_fd);
    ssize_t n = pread(c->file_fd, to, size - 1, 0);
    assert_true(n >= 0);
    to[n] = '\0';
    (void)close(c->file_fd);
}

#endif
