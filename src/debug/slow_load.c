/*
 * slow_load.c - an application that does not return from being loaded
 */
#include "debug/slow_load.h"

#include "base/clock.h"
#include "base/compiler.h"
#include "base/timer_thread.h"
#include "os/log.h"

#include <assert.h>
#include <stdint.h>
#include <unistd.h>

static struct {
    /* Set before the thread starts. */
    const char *app;
    int64_t due_ms;
    pid_t process; /* that has the thread, 0 = none; the main thread only */
    struct timer_thread thread;
} load;

void
slow_load_log(const char *app)
{
    log_warning("%s has been loading for %d s: " SLOW_LOAD_RULE, app,
                SLOW_LOAD_MS / 1000);
}

static void *
load_main(UNUSED void *arg)
{
    log_set_patience(0);
    if (timer_thread_wait(&load.thread, load.due_ms)) {
        slow_load_log(load.app);
    }
    return NULL;
}

void
slow_load_begin(const char *app)
{
    assert(load.process == 0);
    load.app = app;
    load.due_ms = clock_ms() + SLOW_LOAD_MS;
    load.process =
        timer_thread_start(&load.thread, load_main, NULL) == 0 ? getpid() : 0;
}

void
slow_load_end(void)
{
    /* A child that the application forked has no such thread. */
    if (load.process != getpid()) {
        return;
    }
    timer_thread_stop(&load.thread);
    load.process = 0;
}
