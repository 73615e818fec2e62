/*
 * cpu_count.h - how many processors this process may use
 *
 * What:      the number that `auto` means in --processes and --threads.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none: where the kernel does not say, 1.
 * Blocks:    never.
 */
#ifndef BASE_CPU_COUNT_H
#define BASE_CPU_COUNT_H

/* 1 or more. Those of the affinity mask, as nproc(1) counts: taskset(1),
 * CPUAffinity= of systemd and cpusets of containers set it. A quota of time
 * (CPUQuota=) is no number of processors and does not count. */
unsigned cpu_count(void);

#endif
