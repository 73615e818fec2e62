/*
 * upload.c - the body of a request: --data-file
 */
#include "client/upload.h"

#include "os/fd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void
upload_init(struct upload *b)
{
    *b = (struct upload){.fd = -1};
    spool_init(&b->spool);
}

void
upload_fini(struct upload *b)
{
    fd_close(&b->fd);
    spool_fini(&b->spool);
}

static int
wait_readable(int fd, int64_t timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n;

    do {
        n = poll(&p, 1, timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms);
    } while (n < 0 && errno == EINTR);
    return n > 0 ? 0 : n == 0 ? -ETIMEDOUT : -errno;
}

static int
read_all(struct upload *b, int64_t timeout_ms)
{
    char piece[64 << 10];

    for (;;) {
        int e = wait_readable(b->fd, timeout_ms);
        if (e < 0) {
            return e;
        }
        ssize_t n = read(b->fd, piece, sizeof piece);
        if (n == 0) {
            break;
        }
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            return -errno;
        }
        if (n > 0 && (e = spool_write(&b->spool, piece, (size_t)n)) < 0) {
            return e;
        }
    }
    fd_close(&b->fd);
    b->left = spool_size(&b->spool);
    return 0;
}

int
upload_open(struct upload *b, const char *path, int64_t timeout_ms)
{
    struct stat st;

    /* O_NONBLOCK: else the open of a FIFO waits for a writer. */
    b->fd = strcmp(path, "-") == 0
                ? fd_dup_high(STDIN_FILENO)
                : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (b->fd < 0 || fstat(b->fd, &st) < 0) {
        return -errno;
    }
    if (S_ISDIR(st.st_mode)) {
        return -EISDIR;
    }
    off_t at = lseek(b->fd, 0, SEEK_CUR);
    if (!S_ISREG(st.st_mode) || at < 0) {
        return read_all(b, timeout_ms);
    }
    b->left = st.st_size > at ? (uint64_t)(st.st_size - at) : 0;
    return 0;
}

ssize_t
upload_read(struct upload *b, void *to, size_t size)
{
    ssize_t n;

    if (size > b->left) {
        size = (size_t)b->left;
    }
    if (size == 0) {
        return 0;
    }
    if (b->fd < 0) {
        n = spool_read(&b->spool, to, size);
    }
    else {
        do {
            n = read(b->fd, to, size);
        } while (n < 0 && errno == EINTR);
        n = n < 0 ? -errno : n;
    }
    if (n == 0) {
        return -ENODATA;
    }
    assert(n < 0 || (uint64_t)n <= b->left);
    b->left -= n > 0 ? (uint64_t)n : 0;
    return n;
}
