#include "mode/cgi_timeout.h"

#include "base/clock.h"
#include "status/scoreboard.h"
#include "worker/watchdog.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

enum { STATUS_CUT = 1 /* the exit code of a response that was cut off */ };

static struct {
    /* Set before the thread starts. */
    struct scoreboard *board; /* of one thread; NULL: there is no thread */
    struct watchdog *watchdog;
    pthread_t id;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* the request has ended */
    bool done;              /* the same; the main thread, under lock */
} watch = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Waits until this time. False: the request has ended before. */
static bool
wait_until(int64_t ms)
{
    const struct timespec end = {.tv_sec = ms / 1000,
                                 .tv_nsec = ms % 1000 * 1000000};
    int e = 0;

    (void)pthread_mutex_lock(&watch.lock);
    while (!watch.done && e != ETIMEDOUT) {
        e = pthread_cond_timedwait(&watch.changed, &watch.lock, &end);
    }
    bool done = watch.done;
    (void)pthread_mutex_unlock(&watch.lock);
    return !done;
}

static void *
watch_main(UNUSED void *arg)
{
    int64_t now = clock_ms();

    log_set_patience(0);
    while (wait_until(now + watchdog_run(watch.watchdog, now))) {
        now = clock_ms();
        if (watchdog_lost(watch.watchdog) > 0) {
            _exit(STATUS_CUT);
        }
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
        e = pthread_cond_init(&watch.changed, &attr);
        (void)pthread_condattr_destroy(&attr);
    }
    if (e == 0) {
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &old);
        e = pthread_create(&watch.id, NULL, watch_main, NULL);
        (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    return -e;
}

int
cgi_timeout_begin(const struct config *config, struct request *q)
{
    assert(watch.board == NULL); /* a CGI process has one request */
    watch.board = scoreboard_new(1, 1);
    watch.watchdog = watch.board == NULL
                         ? NULL
                         : watchdog_new(config, watch.board, 0, false);
    int e = watch.watchdog == NULL ? -ENOMEM : 0;

    if (e == 0) {
        struct score_thread *t = scoreboard_thread(watch.board, 0, 0);
        watchdog_enter(watch.watchdog, 0);
        watchdog_begin(watch.watchdog, 0, score_begin(t, q), q);
        e = start_thread();
    }
    if (e < 0) {
        scoreboard_free(&watch.board);
    }
    return e;
}

void
cgi_timeout_end(const struct request *q)
{
    if (watch.board == NULL) {
        return;
    }
    score_end(watch.board, 0, scoreboard_thread(watch.board, 0, 0), q);
    (void)pthread_mutex_lock(&watch.lock);
    watch.done = true;
    (void)pthread_cond_signal(&watch.changed);
    (void)pthread_mutex_unlock(&watch.lock);
    (void)pthread_join(watch.id, NULL);
}
