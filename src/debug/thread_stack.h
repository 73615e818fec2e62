/*
 * thread_stack.h - asks a thread for its Python stack, with a signal
 *
 * What:      the thread that gets STACK_DUMP_SIGNAL writes its own stack, in
 *            the handler: with faulthandler, or on a free-threaded Python with
 *            own_stack.h.
 * Owner:     the process.
 * Lifetime:  thread_stack_open() to the end of the process.
 * Threads:   thread_stack_open() the main thread; the rest one at a time.
 * GIL:       thread_stack_open() held; the rest neither needed nor held: the
 *            thread that is asked may hold it.
 * Errors:    NULL.
 * Blocks:    thread_stack_ask(): up to the time that it is given, and for as
 *            long as the handler writes.
 */
#ifndef DEBUG_THREAD_STACK_H
#define DEBUG_THREAD_STACK_H

#include "base/compiler.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

/* The man page reserves this signal for us. */
#define STACK_DUMP_SIGNAL (SIGRTMIN + 11)

/* Again in a forked process. Leaves no exception. */
void thread_stack_open(void);

/* False: threads cannot be asked, or the application has its own handler. */
CHECK_RESULT bool thread_stack_is_open(void);

/* Lines such as '  File "app.py", line 3, in f', or "" if the thread is not in
 * Python code; they last until the next call. NULL: the thread has not answered
 * in time, blocks the signal, or has ended. Gives the thread's id. */
CHECK_RESULT const char *thread_stack_ask(pid_t tid, int wait_ms,
                                          pthread_t *ret_id);

#endif
