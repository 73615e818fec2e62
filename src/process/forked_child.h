/*
 * forked_child.h - processes that the application forks (multiprocessing)
 *
 * What:      such a child must not serve. Right after the fork it closes the
 *            web server's connections, since the client would wait for the
 *            child's end, too. It takes the default signal handlers, since
 *            terminate() would not end it. If it returns from the application,
 *            it must exit.
 * Owner:     the process; the callback and its argument are kept.
 * Lifetime:  forked_child_watch() to the end of the process.
 * Threads:   forked_child_watch() at the start; forked_child_pause() the thread
 *            that is about to fork.                              GIL: not used.
 * Errors:    0 or -errno.                                        Blocks: never.
 */
#ifndef PROCESS_FORKED_CHILD_H
#define PROCESS_FORKED_CHILD_H

#include "base/compiler.h"

#include <stdbool.h>

/* From now on every fork() calls fn(arg) in the child, which may do
 * only what is async-signal-safe. A second call replaces the function of the
 * first. */
CHECK_RESULT int forked_child_watch(void (*fn)(void *arg), void *arg);

/* A process forked while this is paused belongs to the program, not to the
 * application. */
void forked_child_pause(bool paused);

/* True in a child of the process that called forked_child_watch(). */
bool forked_child_is(void);

#endif
