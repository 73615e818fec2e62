#include "process/forked_child.h"

#include "process/signals.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>

static void (*birth_fn)(void *arg);
static void *birth_arg;
static bool is_child, is_watching, is_paused;
static _Thread_local sigset_t mask; /* of the thread that forks */

/* A TERM that reaches the child while our handler is still in place would be
 * counted and forgotten there: Process.terminate() right behind start(). */
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
        birth_fn(birth_arg);
    }
    (void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

int
forked_child_watch(void (*at_birth)(void *arg), void *arg)
{
    birth_fn = at_birth;
    birth_arg = arg;
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
