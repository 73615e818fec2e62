/*
 * request_guard.h - whether Python objects may use the running request
 *
 * What:      wsgi.input, start_response and write() point to the guard of the
 *            thread that runs their request. At its end their pointer becomes
 *            NULL, and they raise RuntimeError from then on. The guard also
 *            keeps two threads of one application from using the request at
 *            once, and a forked child from answering for its parent.
 * Owner:     struct wsgi_thread; the guard serves one request after another.
 * Lifetime:  request_guard_init() to request_guard_fini(); a request uses it
 *            from request_guard_start() to request_guard_end().
 * Threads:   any for request_guard_enter*(), request_guard_check(),
 *            request_guard_leave(); a watchdog for request_guard_inspect(); the
 *            request's thread for the rest.
 * GIL:       held, but not by the watchdog, and released while
 *            request_guard_enter() waits. request_guard_start() sets the
 *            request's wait hooks, which release it around every wait.
 * Errors:    CPython's convention.
 * Blocks:    request_guard_enter() in the request's thread, while another
 *            thread of the application is inside (at most --body-timeout).
 */
#ifndef CONTEXT_REQUEST_GUARD_H
#define CONTEXT_REQUEST_GUARD_H

#include "python/python.h"

#include "gateway/request.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum guard_side { GUARD_RESPONSE, GUARD_REQUEST };

/* Protected by the GIL, where nothing else is said. */
struct request_guard {
    /* NULL between requests. Its thread writes it, with the GIL and, if a
     * watchdog may look, with the lock. */
    struct request *q;
    pthread_mutex_t lock; /* held by the thread that is inside the request */
    pthread_t thread;     /* the one that runs its requests; never changes */
    /* -errno since the client was found gone, 0 = it was not; and which body
     * was being transferred then. Written inside the guard. */
    int gone;
    enum guard_side gone_side;
    bool forked;     /* this process is a child of the request's; the child's
                      * only thread writes it */
    bool is_blocked; /* its thread is in a wait of ours, without the GIL; its
                      * thread writes it, with the GIL */
    /* request_timeout.c writes these two: */
    bool may_interrupt; /* an exception would end in the request */
    bool async_exc_set; /* PyThreadState_SetAsyncExc() has been called */
    struct request_guard *next; /* interrupt.c's, under its guards_lock */
    unsigned nwaiters;     /* threads that wait for the lock, without the GIL */
    atomic_bool inspected; /* request_guard_inspect() may be inside; the
                            * watchdog writes it */
};

/* Call it in the thread that will use the guard. 0 or -errno. */
CHECK_RESULT int request_guard_init(struct request_guard *g);
void request_guard_fini(struct request_guard *g);

/* True if another thread still waits to enter a request that is over. It will
 * look at the guard, which must then not be freed, nor request_guard_fini()
 * called. */
bool request_guard_has_waiters(const struct request_guard *g);

/* This thread now runs q. */
void request_guard_start(struct request_guard *g, struct request *q);

/* This thread no longer runs it. The caller has expired all objects that
 * pointed to the guard. */
void request_guard_end(struct request_guard *g);

/* The guard of the request that this thread runs; NULL if it runs none or is in
 * a forked child. */
struct request_guard *request_guard_current(void);

/* Checks what can be checked without g->q. 0, or -1 with RuntimeError: the
 * object has expired (g is NULL), or this is a forked child. what names the
 * object in the message. */
CHECK_RESULT int request_guard_check(const struct request_guard *g,
                                     const char *what);

/* Must surround every use of g->q, in any thread. 0, or -1 with RuntimeError:
 * as request_guard_check(), or another thread is inside. Python code that runs
 * between enter and leave and comes back here gets that RuntimeError, too. */
CHECK_RESULT int request_guard_enter(struct request_guard *g, const char *what);

/* The same for an object that keeps its guard in *object_guard. If the request
 * ends while this waits, it raises RuntimeError as well. */
CHECK_RESULT int
request_guard_enter_object(struct request_guard *const *object_guard,
                           const char *what);

/* The same without an exception: false if request_guard_enter() would raise or
 * wait. */
CHECK_RESULT bool request_guard_try_enter(struct request_guard *g);

void request_guard_leave(struct request_guard *g);

/* request_guard_try_enter() for a short time, by a watchdog without the GIL;
 * other threads wait for it. The request (or NULL) cannot change until
 * request_guard_end_inspection(). */
CHECK_RESULT bool request_guard_inspect(struct request_guard *g);
void request_guard_end_inspection(struct request_guard *g);

/* The client is gone, as -errno says; noticed while the body of that side was
 * being transferred. What is still logged about the request cannot go to the
 * web server. Call it inside the guard. */
void request_guard_set_gone(struct request_guard *g, int err,
                            enum guard_side side);

/* Raises the subclass of OSError for -errno, with the text. Returns -1. */
int request_guard_raise(int err, const char *text);

#endif
