/*
 * interrupt.h - ends a request from outside its thread
 *
 * What:      raises RequestTimeout (request_timeout.h) in the threads that run cancelled
 *            requests (gateway/request.h): in the main thread by INTERRUPT_SIGNAL,
 *            even out of a blocking call; in another when it next runs Python
 *            code. For a thread that nothing reaches, gives the answer here.
 * Owner:     the process; guards stay their threads'.
 * Threads:   see each.                                     GIL: see each.
 * Errors:    see each.                                     Blocks: never.
 */
#ifndef CONTEXT_INTERRUPT_H
#define CONTEXT_INTERRUPT_H

#include "base/compiler.h"
#include "gateway/request.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* The number is ours; the man page says so. */
#define INTERRUPT_SIGNAL (SIGRTMIN + 12)

/* After Python has started (and in a fork of such a process), in the main thread;
 * only where requests are going to
 * be cancelled. GIL not held. 0, or -1 after a log line. */
CHECK_RESULT int interrupt_open(void);

/* A guard in use by a request thread, from its beginning to its end. Any thread;
 * the GIL does not matter. */
struct request_guard;
void interrupt_register(struct request_guard *g);
void interrupt_unregister(struct request_guard *g);

/* -- for a watchdog: any one thread, GIL not held ------------------------------- */

/* Interrupts what the main thread does, if that is a cancelled request. False:
 * the application has taken the signal, interrupt_all_threads() has to do. To be
 * repeated: a blocking call may just have been about to begin. */
CHECK_RESULT bool interrupt_main_thread(void);

/* The same for all cancelled requests, by the GIL. To be repeated. */
void interrupt_all_threads(void);

/* Answers a cancelled request in its thread's place: 504, or a broken transfer.
 * False: the thread is sending or reading just now, or has ended it. */
CHECK_RESULT bool interrupt_answer(pthread_t thread, uint64_t serial);

#endif
