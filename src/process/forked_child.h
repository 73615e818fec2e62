/*
 * forked_child.h - processes the application forks, as multiprocessing does
 *
 * What:      such a child is no gateway: at birth it closes the web server's
 *            connections (or the client would wait for the child's end, too) and
 *            takes the default signal handlers (or terminate() would not end
 *            it); should it come back from the application, it must leave.
 * Owner:     the process; the callback and its argument are kept.
 * Threads:   forked_child_watch() at start; forked_child_pause() the one that forks then.
 * GIL:       not used.
 * Errors:    0 or -errno.                        Blocks: never.
 */
#ifndef PROCESS_FORKED_CHILD_H
#define PROCESS_FORKED_CHILD_H

#include "base/compiler.h"

#include <stdbool.h>

/* From now on every fork() calls at_birth(arg) in the child, where only
 * async-signal-safe things may be done. Again: in the place of the former. */
CHECK_RESULT int forked_child_watch(void (*at_birth)(void *arg), void *arg);

/* What is forked while paused is the program's own, no child in this sense. */
void forked_child_pause(bool paused);

/* True in a child of the process that called forked_child_watch(). */
bool forked_child_is(void);

#endif
