#include "transport/spool.h"

#include "os/fd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
spool_init(struct spool *s)
{
    memset(s, 0, sizeof *s);
    buf_init(&s->mem, SPOOL_MEMORY);
    s->fd = -1;
}

void
spool_fini(struct spool *s)
{
    buf_fini(&s->mem);
    fd_close(&s->fd);
    assert(s->fd == -1);
    spool_init(s);
}

uint64_t
spool_size(const struct spool *s)
{
    return s->mem.len - s->mem_read + (s->written - s->file_read);
}

/* A file without a name, so nothing is left behind, however we end. */
static int
open_file(void)
{
    const char *dir = getenv("TMPDIR");
    char name[] = "wsgi-cgi.XXXXXX";
    CLEANUP(fd_close) int folder_fd = -1;
    int fd;

    if (dir == NULL || dir[0] != '/') {
        dir = "/tmp";
    }
    fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) {
        return fd;
    }
    /* A file system without O_TMPFILE. */
    folder_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0) {
        return -errno;
    }
    fd = fd_make_temporary(folder_fd, name);
    if (fd >= 0) {
        (void)unlinkat(folder_fd, name, 0);
    }
    return fd;
}

static int
write_file(struct spool *s, const char *p, size_t n)
{
    assert(s->fd >= 0 && s->file_read <= s->written);
    while (n > 0) {
        ssize_t k = pwrite(s->fd, p, n, (off_t)s->written);
        if (k < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        p += k;
        n -= (size_t)k;
        s->written += (uint64_t)k;
    }
    return 0;
}

/* Memory holds the oldest bytes; once a file exists all new ones go there. */
int
spool_write(struct spool *s, const void *bytes, size_t n)
{
    size_t in_mem = 0;

    assert(s->mem.len <= SPOOL_MEMORY);
    if (s->fd < 0) {
        size_t room = SPOOL_MEMORY - s->mem.len;
        if (n <= room) {
            return buf_add(&s->mem, bytes, n);
        }
        in_mem = room;
        int e = buf_add(&s->mem, bytes, in_mem);
        if (e < 0) {
            return e;
        }
        int fd = open_file();
        if (fd < 0) {
            return fd;
        }
        s->fd = fd;
    }
    return write_file(s, (const char *)bytes + in_mem, n - in_mem);
}

ssize_t
spool_read(struct spool *s, void *to, size_t size)
{
    size_t in_mem = s->mem.len - s->mem_read;

    assert(s->mem_read <= s->mem.len && s->file_read <= s->written);
    if (in_mem > 0) {
        if (size > in_mem) {
            size = in_mem;
        }
        memcpy(to, s->mem.data + s->mem_read, size);
        s->mem_read += size;
        if (s->mem_read == s->mem.len) {
            s->mem.len = s->mem_read = 0;
        }
        return (ssize_t)size;
    }
    if (s->written == s->file_read) {
        return 0;
    }
    for (;;) {
        ssize_t k = pread(s->fd, to, size, (off_t)s->file_read);
        if (k >= 0) {
            s->file_read += (uint64_t)k;
            if (s->file_read == s->written && ftruncate(s->fd, 0) == 0) {
                s->file_read = s->written = 0; /* free the disk space */
            }
            return k;
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}
