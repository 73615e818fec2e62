/*
 * memory.h - how much memory this process has, and may have (--max-memory)
 *
 * What:      its resident set, pages shared with other processes included: what
 *            top(1) calls RES.
 * Owner:     the pool.
 * Lifetime:  memory_open() to memory_close().
 * Threads:   memory_kib() any, the rest one.                     GIL: not used.
 * Errors:    see each.                                           Blocks: never.
 */
#ifndef OS_MEMORY_H
#define OS_MEMORY_H

#include "base/compiler.h"

#include <stdint.h>

struct memory {
    int fd; /* to ask the kernel; -1 = there is no limit */
    uint64_t limit_kib;
};

/* Without a limit (0) nothing is opened. 0, or EX_OSERR after a log line. */
CHECK_RESULT int memory_open(struct memory *m, uint64_t limit_bytes);
void memory_close(struct memory *m);

/* What it has now, by one system call; 0 where the kernel does not say. */
uint64_t memory_kib(const struct memory *m);

/* Before the first request. A limit below what the application takes from the
 * start would replace the process after every request: it is lifted, after a log
 * line. */
void memory_check_limit(struct memory *m);

#endif
