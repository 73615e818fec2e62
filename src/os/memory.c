/*
 * memory.c - the memory that a process uses, and the limit of this one
 *            (--max-memory)
 */
#include "os/memory.h"

#include "os/fd.h"
#include "os/log.h"
#include "text/num.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

int
memory_open(struct memory *m, uint64_t limit_bytes)
{
    *m = (struct memory){.fd = -1, .limit_kib = limit_bytes / 1024};
    if (limit_bytes > 0) {
        m->fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
        if (m->fd < 0) {
            log_error("--max-memory: /proc/self/statm: %s", strerror(errno));
            return EX_OSERR;
        }
    }
    return 0;
}

void
memory_close(struct memory *m)
{
    fd_close(&m->fd);
}

/* fd: of a statm. A process that has ended and still has to be waited for has 0
 * pages. */
static uint64_t
read_kib(int fd)
{
    char text[128]; /* "SIZE RESIDENT ...", in pages */
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    uint64_t pages;

    text[n > 0 ? n : 0] = '\0';
    const char *resident = strchr(text, ' ');
    if (resident == NULL || num_parse(resident + 1, strcspn(resident + 1, " "),
                                      INT64_MAX, &pages) < 0) {
        return 0;
    }
    return pages * ((uint64_t)sysconf(_SC_PAGESIZE) / 1024);
}

uint64_t
memory_kib(const struct memory *m)
{
    assert(m->fd >= 0);
    return read_kib(m->fd);
}

uint64_t
memory_kib_of(pid_t pid)
{
    char path[48];

    (void)snprintf(path, sizeof path, "/proc/%ld/statm", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t kib = fd < 0 ? 0 : read_kib(fd);

    fd_close(&fd);
    return kib;
}

void
memory_check_limit(struct memory *m)
{
    uint64_t kib = m->fd < 0 ? 0 : memory_kib(m);

    if (kib > m->limit_kib) {
        log_error("--max-memory: %" PRIu64 " KiB is less than the process uses "
                  "before its first request (%" PRIu64 " KiB): ignored; "
                  "choose a larger size",
                  m->limit_kib, kib);
        m->limit_kib = UINT64_MAX;
    }
}
