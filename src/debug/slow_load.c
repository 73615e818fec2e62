/*
 * slow_load.c - an application that does not return from being loaded
 */
#include "debug/slow_load.h"

#include "base/clock.h"
#include "base/compiler.h"
#include "os/log.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

static struct {
    /* Set before the thread starts. */
    const char *app;
    int64_t due_ms;
    pid_t process; /* that has the thread, 0 = none; the main thread only */
    pthread_t id;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* the load has ended */
    bool done;              /* the same; the main thread, under lock */
} load = {.lock = PTHREAD_MUTEX_INITIALIZER};

void
slow_load_log(const char *app)
{
    log_warning("%s has been loading for %d s: a call that serves by itself, "
                "such as app.run(), must be below if __name__ == \"__main__\"",
                app, SLOW_LOAD_MS / 1000);
}

static void *
load_main(UNUSED void *arg)
{
    const struct timespec end = {.tv_sec = load.due_ms / 1000,
                                 .tv_nsec = load.due_ms % 1000 * 1000000};
    int e = 0;

    log_set_patience(0);
    (void)pthread_mutex_lock(&load.lock);
    while (!load.done && e != ETIMEDOUT) {
        e = pthread_cond_timedwait(&load.changed, &load.lock, &end);
    }
    bool done = load.done;
    (void)pthread_mutex_unlock(&load.lock);
    if (!done) {
        slow_load_log(load.app);
    }
    return NULL;
}

static int
start_thread(void)
{
    pthread_condattr_t attr;
    sigset_t all, old;
    int e = pthread_condattr_init(&attr);

    if (e == 0) {
        (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        e = pthread_cond_init(&load.changed, &attr);
        (void)pthread_condattr_destroy(&attr);
    }
    if (e == 0) {
        /* Signals go to the main thread. */
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &old);
        e = pthread_create(&load.id, NULL, load_main, NULL);
        (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    return -e;
}

void
slow_load_begin(const char *app)
{
    assert(load.process == 0);
    load.app = app;
    load.due_ms = clock_ms() + SLOW_LOAD_MS;
    load.done = false;
    load.process = start_thread() == 0 ? getpid() : 0;
}

void
slow_load_end(void)
{
    /* A child that the application forked has no such thread. */
    if (load.process != getpid()) {
        return;
    }
    (void)pthread_mutex_lock(&load.lock);
    load.done = true;
    (void)pthread_cond_signal(&load.changed);
    (void)pthread_mutex_unlock(&load.lock);
    (void)pthread_join(load.id, NULL);
    (void)pthread_cond_destroy(&load.changed);
    load.process = 0;
}
