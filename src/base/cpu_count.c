/*
 * cpu_count.c - how many processors this process may use
 */
#include "base/cpu_count.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <unistd.h>

enum { CPUS_FIRST = 1024, CPUS_MAX = 1 << 16 };

/* The kernel refuses a mask that is smaller than its own (EINVAL). 0: there is
 * no mask. */
static unsigned
count_mask(void)
{
    for (size_t n = CPUS_FIRST; n <= CPUS_MAX; n *= 2) {
        cpu_set_t *set = CPU_ALLOC(n);
        if (set == NULL) {
            return 0;
        }
        int r = sched_getaffinity(0, CPU_ALLOC_SIZE(n), set);
        int e = r < 0 ? errno : 0;
        int count = r < 0 ? 0 : CPU_COUNT_S(CPU_ALLOC_SIZE(n), set);
        CPU_FREE(set);
        if (e != EINVAL) {
            assert(count >= 0);
            return (unsigned)count;
        }
    }
    return 0;
}

unsigned
cpu_count(void)
{
    unsigned n = count_mask();
    long online = n > 0 ? 0 : sysconf(_SC_NPROCESSORS_ONLN);

    return n > 0 ? n : online > 1 ? (unsigned)online : 1;
}
