/*
 * memory.h - the memory that a process uses, and the limits of this one
 *
 * What:      for --max-memory, the resident set, with the pages that other
 *            processes share: what top(1) shows as RES. For RLIMIT_AS and
 *            RLIMIT_DATA, what the kernel counts for them. In CGI each request
 *            has all that they leave after the start. A process that serves
 *            many requests has less and less of it where the application keeps
 *            memory: when half is used, the process is to be replaced.
 * Owner:     the caller; the pool has one.
 * Lifetime:  memory_open() to memory_close().
 * Threads:   memory_exceeds() and memory_kib_of() any, the others one.
 * GIL:       not used.
 * Errors:    see each function.                                  Blocks: never.
 */
#ifndef OS_MEMORY_H
#define OS_MEMORY_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* UINT64_MAX = there is no such limit. */
struct memory {
    int fd; /* of /proc/self/statm; -1 = there is no limit */
    bool watches_rlimits;
    uint64_t limit_kib; /* --max-memory */
    uint64_t size_kib;  /* half of what RLIMIT_AS leaves is used */
    uint64_t data_kib;  /* the same for RLIMIT_DATA */
};

/* What is more than which limit, for the log. */
struct memory_excess {
    uint64_t kib, limit_kib;
    const char *limit;
    bool is_rlimit;
};

/* Opens nothing where limit_bytes is 0, which is no limit, and none of the
 * process is to be watched. 0, or EX_OSERR after a log line. */
CHECK_RESULT int memory_open(struct memory *m, uint64_t limit_bytes,
                             bool watch_rlimits);
void memory_close(struct memory *m);

/* True where the process is to be replaced; with one system call. There must be
 * a limit. */
CHECK_RESULT bool memory_exceeds(const struct memory *m,
                                 struct memory_excess *ret);

/* The memory of any process; 0 where the kernel does not say: it has ended, or
 * /proc does not show it. */
uint64_t memory_kib_of(pid_t pid);

/* To be called before the first request. Logs an error and removes the limit of
 * --max-memory where the process is larger already: it would be replaced after
 * every request. Finds out what RLIMIT_AS and RLIMIT_DATA leave. */
void memory_check_limit(struct memory *m);

#endif
