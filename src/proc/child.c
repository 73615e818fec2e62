#include "proc/child.h"

#include "proc/signals.h"

#include <pthread.h>
#include <stddef.h>

static void (*birth_fn)(void *arg);
static void *birth_arg;
static bool is_child;

static void
at_fork(void)
{
    is_child = true;
    signals_close();
    birth_fn(birth_arg);
}

int
child_watch(void (*at_birth)(void *arg), void *arg)
{
    birth_fn = at_birth;
    birth_arg = arg;
    return -pthread_atfork(NULL, NULL, at_fork);
}

bool
child_is(void)
{
    return is_child;
}
