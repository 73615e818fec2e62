/*
 * own_stack.h - the Python stack of the calling thread, in a signal handler
 *
 * What:      for a free-threaded Python, where nobody may look at the frames of
 *            another thread that runs. Each thread reads its own: whatever it
 *            was doing when the signal came waits meanwhile. Has the lines that
 *            stack_dump.c writes, unlike faulthandler, which has no qualified
 *            names.
 * Owner:     the caller owns the text.
 * Lifetime:  own_stack_open() to the end of the process.
 * Threads:   own_stack_open() the main thread; the rest any, one at a time.
 * GIL:       own_stack_open() held (attached). own_stack_write() works in both
 *            states: only its own thread changes what it reads, and the frames
 *            keep their code alive.
 * Errors:    false, or "" where no Python code runs in the thread.
 * Blocks:    never.
 */
#ifndef DEBUG_OWN_STACK_H
#define DEBUG_OWN_STACK_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>

/* fd: a memory file, for scratch. False: the frames of this Python are not as
 * we know them, or it has a GIL; own_stack_write() must not be called. Again in
 * a forked process. */
CHECK_RESULT bool own_stack_open(int fd);

/* Whole lines, the most recent call first, and a null byte. Safe in a signal
 * handler. */
void own_stack_write(char *to, size_t size);

#endif
