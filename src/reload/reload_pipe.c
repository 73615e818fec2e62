/*
 * reload_pipe.c - names of imported files, from workers to the file watcher
 */
#include "reload/reload_pipe.h"

#include "base/clock.h"
#include "os/fd.h"
#include "text/num.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    CAPACITY = 1 << 20,    /* some thousand names; Linux' limit */
    RECORD_MAX = PIPE_BUF, /* larger writes may be split */
    READ_SIZE = 1 << 16,
    TELL_MS = 1000
};

int
reload_pipe_open(struct reload_pipe *h)
{
    int fds[2];

    buf_init(&h->rest, RECORD_MAX + READ_SIZE);
    h->read_fd = h->write_fd = -1;
    h->loads = false;
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        return -errno;
    }
    h->read_fd = fds[0];
    h->write_fd = fds[1];
    (void)fcntl(h->write_fd, F_SETPIPE_SZ, CAPACITY);
    return 0;
}

void
reload_pipe_close(struct reload_pipe *h)
{
    fd_close(&h->read_fd);
    fd_close(&h->write_fd);
    buf_fini(&h->rest);
}

static const char loads[] = "loads";

/* -- sending --------------------------------------------------------------- */

/* False: the pipe was full until the deadline. */
static bool
send_one(int fd, const struct imports_file *f, int64_t deadline_ms)
{
    char record[RECORD_MAX];
    int n =
        snprintf(record, sizeof record,
                 "%d %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %s",
                 f->is_app, f->stamp.device, f->stamp.inode,
                 (uint64_t)f->stamp.size, (uint64_t)f->stamp.mtime_ns, f->path);

    if (n < 0 || (size_t)n >= sizeof record) {
        return true; /* too long for one write: the file is not watched */
    }
    while (write(fd, record, (size_t)n + 1) < 0) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int64_t left = deadline_ms - clock_ms();
        if (errno != EAGAIN && errno != EINTR) {
            return true; /* the reader has closed the pipe */
        }
        if (left <= 0) {
            return false;
        }
        (void)poll(&p, 1, (int)left);
    }
    return true;
}

void
reload_pipe_send(int fd, struct imports_file **list, int64_t patience_ms)
{
    int64_t deadline = clock_ms() + patience_ms;

    while (*list != NULL && send_one(fd, *list, deadline)) {
        *list = imports_free(*list);
    }
}

void
reload_pipe_tell(int fd)
{
    struct imports_file *list = fd < 0 ? NULL : imports_take();

    reload_pipe_send(fd, &list, TELL_MS);
    while (list != NULL) {
        list = imports_free(list);
    }
}

void
reload_pipe_tell_loads(int fd)
{
    if (fd >= 0 && write(fd, loads, sizeof loads) < 0) {
        /* The reader has closed the pipe. */
    }
}

/* -- receiving ------------------------------------------------------------- */

static void
take_record(char *record, struct file_watcher *t)
{
    uint64_t numbers[5];
    char *rest = record;

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        const char *word = strsep(&rest, " ");
        if (rest == NULL ||
            num_parse(word, strlen(word), UINT64_MAX, &numbers[i]) < 0) {
            return;
        }
    }
    struct file_id stamp = {numbers[1], numbers[2], (int64_t)numbers[3],
                            (int64_t)numbers[4]};
    file_watcher_add(t, rest, stamp, numbers[0] != 0);
}

static void
take_records(struct reload_pipe *h, struct file_watcher *t)
{
    struct buf *b = &h->rest;
    char *at = b->data, *end;

    while ((end = memchr(at, '\0', (size_t)(b->data + b->len - at))) != NULL) {
        if (strcmp(at, loads) == 0) {
            h->loads = true;
        }
        else {
            take_record(at, t);
        }
        at = end + 1;
    }
    assert(at >= b->data && at <= b->data + b->len);
    buf_consume(b, (size_t)(at - b->data));
}

void
reload_pipe_receive(struct reload_pipe *h, struct file_watcher *t)
{
    while (h->read_fd >= 0 && buf_reserve(&h->rest, READ_SIZE) == 0) {
        ssize_t n = read(h->read_fd, h->rest.data + h->rest.len, READ_SIZE);
        if (n <= 0) {
            break;
        }
        h->rest.len += (size_t)n;
        take_records(h, t);
    }
    if (h->rest.len == 0) {
        buf_fini(&h->rest);
    }
}
