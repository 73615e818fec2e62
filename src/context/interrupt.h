/*
 * interrupt.h - ends a request from outside its thread
 *
 * What:      raises RequestTimeout (request_timeout.h) in the threads that run
 *            cancelled requests (gateway/request.h): in the main thread by
 *            INTERRUPT_SIGNAL, even out of a blocking call; in others when they
 *            next run Python code. Gives the answer itself for a thread that
 *            nothing reaches.
 * Owner:     the process; the guards stay their threads'.
 * Threads:   see each function.
 * GIL:       see each function.
 * Errors:    see each function.
 * Blocks:    never.
 */
#ifndef CONTEXT_INTERRUPT_H
#define CONTEXT_INTERRUPT_H

#include "base/compiler.h"
#include "gateway/request.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* Chosen by this program and documented in its man page. */
#define INTERRUPT_SIGNAL (SIGRTMIN + 12)

/* Installs the signal. Call it in the main thread after Python has started, and
 * again in a process forked after that; only if requests can be cancelled. GIL
 * not held. 0, or -1 after a log line. */
CHECK_RESULT int interrupt_open(void);

/* Adds and removes the guard of a request thread. Any thread, with or without
 * the GIL. */
struct request_guard;
void interrupt_register(struct request_guard *g);
void interrupt_unregister(struct request_guard *g);

/* -- for a watchdog: any one thread, GIL not held -------------------------- */

/* Interrupts the main thread if it runs a cancelled request. False: the
 * application has replaced the signal's handler; use interrupt_all_threads().
 * Call it repeatedly: a blocking call may have been about to begin. */
CHECK_RESULT bool interrupt_main_thread(void);

/* Interrupts all cancelled requests by a task that takes the GIL. Call it
 * repeatedly. */
void interrupt_all_threads(void);

/* Answers a cancelled request in place of its thread: sends a 504, or breaks
 * the transfer off. False: the thread is sending or reading at the moment, or
 * has ended the request. */
CHECK_RESULT bool interrupt_answer(pthread_t thread, uint64_t serial);

#endif
