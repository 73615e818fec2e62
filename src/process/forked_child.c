#include "process/forked_child.h"

#include "process/signals.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>

/* Set at the start, by one thread. */
static void (*child_fn)(void *arg);
static void *child_arg;
static bool is_child, is_watching, is_paused;
static _Thread_local sigset_t mask; /* of the thread that forks */

/* Our handler would only count a SIGTERM that reaches the child early, as with
 * Process.terminate() right after start(). */
static void
before_fork(void)
{
    sigset_t all;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &mask);
}

static void
in_parent(void)
{
    (void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

static void
in_child(void)
{
    if (!is_paused) {
        is_child = true;
        signals_close();
        child_fn(child_arg);
    }
    (void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

int
forked_child_watch(void (*fn)(void *arg), void *arg)
{
    assert(fn != NULL && !is_child);
    child_fn = fn;
    child_arg = arg;
    if (is_watching) {
        return 0;
    }
    is_watching = true;
    return -pthread_atfork(before_fork, in_parent, in_child);
}

void
forked_child_pause(bool paused)
{
    is_paused = paused;
}

bool
forked_child_is(void)
{
    return is_child;
}
