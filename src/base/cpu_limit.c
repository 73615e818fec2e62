/*
 * cpu_limit.c - RLIMIT_CPU in a process that serves many requests
 */
#include "base/cpu_limit.h"

#include <assert.h>
#include <sys/resource.h>
#include <time.h>

enum {
    LIFE = 8, /* times the limit; a start costs less than once that */
    SECOND_MS = 1000,
    LIMIT_MAX = 100000000 /* s: three years are none */
};

/* The clock that the kernel compares with the limit: user and system time as
 * counted by its ticks. CLOCK_PROCESS_CPUTIME_ID counts more precisely, and the
 * two drift apart. It is CPUCLOCK_PROF of this process. */
#define CLOCK_OF_LIMIT ((clockid_t)-8)

static int64_t
used_ms(void)
{
    struct timespec t;

    if (clock_gettime(CLOCK_OF_LIMIT, &t) < 0 &&
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) < 0) {
        return 0;
    }
    return (int64_t)t.tv_sec * SECOND_MS + t.tv_nsec / 1000000;
}

/* 0 is 1, as for Linux before 5.4; later ones end the process at once. */
static int64_t
seconds_of(rlim_t limit)
{
    return limit > LIMIT_MAX ? INT64_MAX : limit > 0 ? (int64_t)limit : 1;
}

void
cpu_limit_open(struct cpu_limit *c, unsigned threads)
{
    struct rlimit r;

    assert(threads > 0 && c->soft_s == 0);
    if (getrlimit(RLIMIT_CPU, &r) < 0 || seconds_of(r.rlim_cur) == INT64_MAX) {
        return;
    }
    (void)pthread_mutex_init(&c->lock, NULL);
    c->soft_s = seconds_of(r.rlim_cur);
    c->hard_s = seconds_of(r.rlim_max);
    c->room_s = c->soft_s * threads;
    c->replace_ms = LIFE * c->room_s * SECOND_MS;
    atomic_store(&c->set_s, c->soft_s);
    if (c->hard_s != INT64_MAX) {
        int64_t hard_ms = c->hard_s * SECOND_MS;
        int64_t need = (hard_ms - used_ms()) / 4 * 3;
        int64_t room = c->room_s * SECOND_MS;
        int64_t replace_ms = hard_ms - (need < room ? need : room);
        c->is_tight = replace_ms < c->replace_ms;
        c->replace_ms = c->is_tight ? replace_ms : c->replace_ms;
    }
}

static void
move(struct cpu_limit *c, int64_t to_s)
{
    struct rlimit r;

    (void)pthread_mutex_lock(&c->lock);
    if (to_s > atomic_load(&c->set_s) && getrlimit(RLIMIT_CPU, &r) == 0) {
        r.rlim_cur = (rlim_t)to_s < r.rlim_max ? (rlim_t)to_s : r.rlim_max;
        (void)setrlimit(RLIMIT_CPU, &r);
        atomic_store(&c->set_s, to_s);
    }
    (void)pthread_mutex_unlock(&c->lock);
}

bool
cpu_limit_renew(struct cpu_limit *c)
{
    if (c->soft_s == 0) {
        return false;
    }
    int64_t used = used_ms();
    /* The next full second: a request that has used none of its time must not
     * have less. */
    int64_t to_s = used / SECOND_MS + c->room_s + 1;
    to_s = to_s < c->hard_s ? to_s : c->hard_s;
    if (to_s > atomic_load_explicit(&c->set_s, memory_order_relaxed)) {
        move(c, to_s);
    }
    return used >= c->replace_ms;
}

void
cpu_limit_restore(const struct cpu_limit *c)
{
    struct rlimit r;

    if (c->soft_s > 0 && getrlimit(RLIMIT_CPU, &r) == 0) {
        r.rlim_cur = (rlim_t)c->soft_s;
        (void)setrlimit(RLIMIT_CPU, &r);
    }
}

bool
cpu_limit_is_half_used(const struct cpu_limit *c)
{
    return c->soft_s > 0 && used_ms() >= c->soft_s * SECOND_MS / 2;
}
