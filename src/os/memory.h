/*
 * memory.h - the memory that a process uses, and the limit of this one
 *            (--max-memory)
 *
 * What:      the resident set, with the pages that other processes share: what
 *            top(1) shows as RES.
 * Owner:     the caller; the pool has one.
 * Lifetime:  memory_open() to memory_close().
 * Threads:   memory_kib() and memory_kib_of() any, the others one.
 * GIL:       not used.
 * Errors:    see each function.                                  Blocks: never.
 */
#ifndef OS_MEMORY_H
#define OS_MEMORY_H

#include "base/compiler.h"

#include <stdint.h>
#include <sys/types.h>

struct memory {
    int fd; /* of /proc/self/statm; -1 = there is no limit */
    uint64_t limit_kib;
};

/* Opens nothing where limit_bytes is 0, which is no limit. 0, or EX_OSERR after
 * a log line. */
CHECK_RESULT int memory_open(struct memory *m, uint64_t limit_bytes);
void memory_close(struct memory *m);

/* The memory used now, with one system call; 0 where the kernel does not say.
 * There must be a limit. */
uint64_t memory_kib(const struct memory *m);

/* The memory of any process; 0 where the kernel does not say: it has ended, or
 * /proc does not show it. */
uint64_t memory_kib_of(pid_t pid);

/* To be called before the first request. Logs an error and removes the limit
 * where the process is larger already: it would be replaced after every
 * request. */
void memory_check_limit(struct memory *m);

#endif
