/*
 * timer_thread.h - a thread that waits for a time, or for its end
 *
 * What:      starts the thread with all signals blocked; its function calls
 *            timer_thread_wait(), and returns when that says false.
 * Owner:     the caller, until timer_thread_stop(). It may be started again
 *            then.
 * Threads:   start and stop: the same thread. wait: the new one.
 * GIL:       not used.
 * Errors:    0 or -errno.
 * Blocks:    wait until the time; stop until the function has returned.
 */
#ifndef BASE_TIMER_THREAD_H
#define BASE_TIMER_THREAD_H

#include "base/compiler.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct timer_thread {
    pthread_t id;
    pthread_mutex_t lock;
    pthread_cond_t stopped;
    bool stops; /* under lock */
};

CHECK_RESULT int timer_thread_start(struct timer_thread *t,
                                    void *(*fn)(void *arg), void *arg);

/* Waits until this time, in clock_ms(). False: timer_thread_stop() was called
 * before. */
CHECK_RESULT bool timer_thread_wait(struct timer_thread *t, int64_t until_ms);

/* Only after a start that has succeeded. */
void timer_thread_stop(struct timer_thread *t);

#endif
