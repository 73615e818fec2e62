#include "mode/cgi_timeout.h"

#include "base/clock.h"
#include "base/timer_thread.h"
#include "status/scoreboard.h"
#include "worker/watchdog.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

enum { STATUS_CUT = 1 /* the exit code of a response that was cut off */ };

static struct {
    /* Set before the thread starts. */
    struct scoreboard *board; /* of one thread; NULL: there is no thread */
    struct watchdog *watchdog;
    struct timer_thread thread;
} watch;

static void *
watch_main(UNUSED void *arg)
{
    int64_t now = clock_ms();

    log_set_patience(0);
    while (timer_thread_wait(&watch.thread,
                             now + watchdog_run(watch.watchdog, now))) {
        now = clock_ms();
        if (watchdog_lost(watch.watchdog) > 0) {
            _exit(STATUS_CUT);
        }
    }
    return NULL;
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
        watchdog_begin(watch.watchdog, 0, score_begin(watch.board, t, q), q);
        e = timer_thread_start(&watch.thread, watch_main, NULL);
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
    score_end(watch.board, 0, scoreboard_thread(watch.board, 0, 0), q,
              clock_coarse_ms());
    timer_thread_stop(&watch.thread);
}
