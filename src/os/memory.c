/*
 * memory.c - the memory that a process uses, and the limits of this one
 */
#include "os/memory.h"

#include "base/compiler.h"
#include "os/fd.h"
#include "os/log.h"
#include "text/num.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

/* In KiB; 0 where the kernel does not say. */
struct use {
    uint64_t size, resident, data;
};

static bool
has_rlimit(void)
{
    struct rlimit size, data;

    return (getrlimit(RLIMIT_AS, &size) == 0 &&
            size.rlim_cur != RLIM_INFINITY) ||
           (getrlimit(RLIMIT_DATA, &data) == 0 &&
            data.rlim_cur != RLIM_INFINITY);
}

int
memory_open(struct memory *m, uint64_t limit_bytes, bool watch_rlimits)
{
    *m = (struct memory){.fd = -1,
                         .watches_rlimits = watch_rlimits,
                         .limit_kib =
                             limit_bytes > 0 ? limit_bytes / 1024 : UINT64_MAX,
                         .size_kib = UINT64_MAX,
                         .data_kib = UINT64_MAX};
    if (limit_bytes > 0 || (watch_rlimits && has_rlimit())) {
        m->fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
        if (m->fd < 0 && limit_bytes > 0) {
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
static struct use
read_use(int fd)
{
    /* In pages: size, resident, shared, text, 0, data and stack, 0. */
    uint64_t fields[6] = {0}, page = (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
    char text[128];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    const char *at = text;

    text[n > 0 ? n : 0] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        size_t len = strcspn(at, " \n");
        if (num_parse(at, len, INT64_MAX, &fields[i]) < 0) {
            return (struct use){0};
        }
        at += len + (at[len] != '\0');
    }
    return (struct use){fields[0] * page, fields[1] * page, fields[5] * page};
}

bool
memory_exceeds(const struct memory *m, struct memory_excess *ret)
{
    assert(m->fd >= 0);
    const struct use u = read_use(m->fd);
    const struct memory_excess rows[] = {
        {u.resident, m->limit_kib, "--max-memory", false},
        {u.size, m->size_kib, "half of what RLIMIT_AS leaves", true},
        {u.data, m->data_kib, "half of what RLIMIT_DATA leaves", true}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].kib > rows[i].limit_kib) {
            *ret = rows[i];
            return true;
        }
    }
    return false;
}

uint64_t
memory_kib_of(pid_t pid)
{
    char path[48];

    (void)snprintf(path, sizeof path, "/proc/%ld/statm", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t kib = fd < 0 ? 0 : read_use(fd).resident;

    fd_close(&fd);
    return kib;
}

static uint64_t
half_left(const struct rlimit *r, uint64_t used_kib)
{
    uint64_t limit_kib = r->rlim_cur / 1024;

    if (r->rlim_cur == RLIM_INFINITY || limit_kib < used_kib) {
        return UINT64_MAX;
    }
    return used_kib + (limit_kib - used_kib) / 2;
}

void
memory_check_limit(struct memory *m)
{
    struct rlimit r;

    if (m->fd < 0) {
        return;
    }
    const struct use u = read_use(m->fd);
    if (u.resident > m->limit_kib) {
        log_error("--max-memory: %" PRIu64 " KiB is less than the process uses "
                  "before its first request (%" PRIu64 " KiB): ignored; "
                  "choose a larger size",
                  m->limit_kib, u.resident);
        m->limit_kib = UINT64_MAX;
    }
    if (m->watches_rlimits && getrlimit(RLIMIT_AS, &r) == 0) {
        m->size_kib = half_left(&r, u.size);
    }
    if (m->watches_rlimits && getrlimit(RLIMIT_DATA, &r) == 0) {
        m->data_kib = half_left(&r, u.data);
    }
}
