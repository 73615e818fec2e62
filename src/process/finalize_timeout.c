#include "process/finalize_timeout.h"

#include "base/clock.h"
#include "base/compiler.h"
#include "os/log.h"
#include "process/signals.h"
#include "status/notify.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

enum { LOOK_MS = 1000 /* at most, between two looks whether it has ended */ };

/* Set before the thread starts, but for has_ended. */
static struct {
    int64_t end_ms;
    int status;
    void (*on_timeout)(void *arg);
    void *arg;
    atomic_bool has_ended; /* the main thread sets it */
} timeout;

static void *
timeout_main(UNUSED void *arg)
{
    log_set_patience(0);
    while (!atomic_load(&timeout.has_ended) && clock_ms() < timeout.end_ms &&
           signals_get().stop != STOP_NOW) {
        int64_t now = clock_ms();
        int64_t left = timeout.end_ms - now;
        int wait = left < 0 ? 0 : left > LOOK_MS ? LOOK_MS : (int)left;
        (void)signals_wait(notify_wait_ms(now, wait), -1, -1);
        if (notify_watchdog_is_due(now)) {
            notify_watchdog(now); /* it ends: this thread makes sure */
        }
    }
    if (atomic_load(&timeout.has_ended)) {
        return NULL;
    }
    log_warning("threads of the application have not ended: left behind");
    if (timeout.on_timeout != NULL) {
        timeout.on_timeout(timeout.arg);
    }
    _exit(timeout.status);
}

void
finalize_timeout_begin(int64_t end_ms, int status,
                       void (*on_timeout)(void *arg), void *arg)
{
    sigset_t all, old;
    pthread_t id;

    assert(timeout.end_ms == 0); /* once in the life of a process */
    timeout.end_ms = end_ms;
    timeout.status = status;
    timeout.on_timeout = on_timeout;
    timeout.arg = arg;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    if (pthread_create(&id, NULL, timeout_main, NULL) == 0) {
        (void)pthread_detach(id);
    }
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void
finalize_timeout_end(void)
{
    atomic_store(&timeout.has_ended, true);
}
