/*
 * cpu_limit.h - RLIMIT_CPU in a process that serves many requests
 *
 * What:      the kernel adds up the processor time of a process. In CGI that is
 *            one request: with a limit of S seconds, its start and it have S
 *            together. In a worker of --keep-warm the soft limit is moved on,
 *            so that each request has S of its own again:
 *            - One that uses more is ended by SIGXCPU, after S to S + 1 s. With
 *              --threads=N, each also gets what the others use meanwhile.
 *            - A worker that has used 8 S (N times that) is to be replaced. So
 *              programs that the application starts inherit 9 S + 1 s at most,
 *              and those that it forks, S.
 *            - Where the hard limit is too low for that, it is to be replaced
 *              as soon as it has used a quarter of what was left after its
 *              start: a request has three quarters of what it would have in
 *              CGI, or more.
 *            A master never moves its own limit, and ends in time.
 * Owner:     the caller; the pool has one, and the master.
 * Lifetime:  cpu_limit_open() to the end of the process.
 * Threads:   cpu_limit_open() one, the others any.               GIL: not used.
 * Errors:    none: without a limit, or where it cannot be moved, it stays.
 * Blocks:    never.
 */
#ifndef BASE_CPU_LIMIT_H
#define BASE_CPU_LIMIT_H

#include "base/compiler.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* All 0 where nothing is limited. */
struct cpu_limit {
    int64_t soft_s;     /* S; 0 = there is no limit */
    int64_t hard_s;     /* INT64_MAX = there is none */
    int64_t room_s;     /* for the requests that run at the same time */
    int64_t replace_ms; /* of processor time: then it is to be replaced */
    bool is_tight;      /* because of the hard limit */
    pthread_mutex_t lock;
    _Atomic(int64_t) set_s; /* the soft limit now; written under the lock */
};

/* Takes the limits that the process has; threads: so many requests run at the
 * same time. */
void cpu_limit_open(struct cpu_limit *c, unsigned threads);

static inline bool
cpu_limit_is_set(const struct cpu_limit *c)
{
    return c->soft_s != 0;
}

/* A request begins or has ended: the next one has its time. True where the
 * process is to be replaced. */
CHECK_RESULT bool cpu_limit_renew(struct cpu_limit *c);

/* In a child that the application forks: the limit that a CGI process has. */
void cpu_limit_restore(const struct cpu_limit *c);

/* True where half of S is used. */
CHECK_RESULT bool cpu_limit_is_half_used(const struct cpu_limit *c);

#endif
