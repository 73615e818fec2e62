/*
 * finalize_timeout.h - a limit for the time that the end of Python takes
 *
 * What:      Python waits for the threads of the application before it ends,
 *            and such a thread may never end. At a given time, or at a second
 *            signal, the process ends without it. systemd's watchdog is fed
 *            meanwhile.
 * Owner:     the process; once in its life.
 * Lifetime:  finalize_timeout_begin() to finalize_timeout_end().
 * Threads:   the main thread; one of its own, with all signals blocked.
 * GIL:       not used.
 * Errors:    where no thread can be created there is no limit.
 * Blocks:    never.
 */
#ifndef PROCESS_FINALIZE_TIMEOUT_H
#define PROCESS_FINALIZE_TIMEOUT_H

#include <stdint.h>

/* For a process that has not served: functions of atexit may run, but nobody
 * waits for threads that long. */
enum { FINALIZE_TIMEOUT_UNSERVED_MS = 5000 };

/* Python is about to end. Where it has not ended by end_ms (clock_ms()), or at
 * a second signal, calls on_timeout(arg), if not NULL, and ends the process
 * with this status. */
void finalize_timeout_begin(int64_t end_ms, int status,
                            void (*on_timeout)(void *arg), void *arg);

/* Python has ended: the caller does the rest. */
void finalize_timeout_end(void);

#endif
