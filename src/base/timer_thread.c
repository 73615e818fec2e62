/*
 * timer_thread.c - a thread that waits for a time, or for its end
 */
#include "base/timer_thread.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

static int
init(struct timer_thread *t)
{
    pthread_condattr_t attr;
    int e = pthread_condattr_init(&attr);

    if (e == 0) {
        (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        e = pthread_cond_init(&t->stopped, &attr);
        (void)pthread_condattr_destroy(&attr);
    }
    (void)pthread_mutex_init(&t->lock, NULL);
    t->stops = false;
    return e;
}

int
timer_thread_start(struct timer_thread *t, void *(*fn)(void *arg), void *arg)
{
    sigset_t all, old;
    int e = init(t);

    if (e == 0) {
        /* Signals go to the other threads. */
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &old);
        e = pthread_create(&t->id, NULL, fn, arg);
        (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    return -e;
}

bool
timer_thread_wait(struct timer_thread *t, int64_t until_ms)
{
    const struct timespec end = {.tv_sec = until_ms / 1000,
                                 .tv_nsec = until_ms % 1000 * 1000000};
    int e = 0;

    (void)pthread_mutex_lock(&t->lock);
    while (!t->stops && e != ETIMEDOUT) {
        e = pthread_cond_timedwait(&t->stopped, &t->lock, &end);
    }
    bool stops = t->stops;
    (void)pthread_mutex_unlock(&t->lock);
    return !stops;
}

void
timer_thread_stop(struct timer_thread *t)
{
    (void)pthread_mutex_lock(&t->lock);
    t->stops = true;
    (void)pthread_cond_signal(&t->stopped);
    (void)pthread_mutex_unlock(&t->lock);
    (void)pthread_join(t->id, NULL);
    (void)pthread_cond_destroy(&t->stopped);
}
