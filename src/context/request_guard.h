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
 *            from request_guard_start() to request_guard_end(). On a
 *            free-threaded Python its memory stays until the process ends.
 * Threads:   any for request_guard_enter*(), request_guard_check(),
 *            request_guard_leave(); a watchdog for request_guard_inspect(); the
 *            request's thread for the rest.
 * GIL:       held, but not by the watchdog, and released while
 *            request_guard_enter() waits. request_guard_start() sets the
 *            request's wait hooks, which release it around every wait. A
 *            free-threaded Python has none: struct request_guard says what
 *            protects its fields there; what the objects and the request have
 *            is used inside the guard.
 * Errors:    CPython's convention.
 * Blocks:    request_guard_enter() in the request's thread, while another
 *            thread of the application is inside (at most --body-timeout). On a
 *            free-threaded Python also in another thread, while the one inside
 *            computes.
 */
#ifndef CONTEXT_REQUEST_GUARD_H
#define CONTEXT_REQUEST_GUARD_H

#include "python/python.h"

#include "gateway/request.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum guard_side { GUARD_RESPONSE, GUARD_REQUEST };

/* Protected by the state lock, where nothing else is said. Where there is a GIL,
 * that is the GIL. On a free-threaded Python it is state_lock, which a thread
 * may wait for while it is attached to Python, as it may for the locks inside
 * CPython: who holds it never blocks, runs no Python code and neither attaches
 * nor detaches. A PyMutex would not do: who has waited for one waits to attach,
 * and the thread that interrupts would do that with guards_lock held. */
struct request_guard {
    /* NULL between requests. Its thread writes it, with the state lock and, if
     * a watchdog may look, with the lock. Its thread reads it without a lock;
     * another one with the state lock, or inside the guard, for an object that
     * has not expired. */
    struct request *q;
    pthread_mutex_t lock; /* held by the thread that is inside the request */
    pthread_t thread;     /* the one that runs its requests; never changes */
    /* -errno since the client was found gone, 0 = it was not; and which body
     * was being transferred then. Written inside the guard, where gone_side is
     * read, too. */
    atomic_int gone;
    enum guard_side gone_side;
    bool forked;     /* this process is a child of the request's; the child's
                      * only thread writes it */
    bool is_blocked; /* its thread is in a wait of ours, without the GIL; its
                      * thread writes it */
    /* request_timeout.c writes these two: */
    bool may_interrupt; /* an exception would end in the request; its thread
                         * writes it */
    bool async_exc_set; /* PyThreadState_SetAsyncExc() has been called */
    struct request_guard *next; /* interrupt.c's, under its guards_lock */
    atomic_uint nwaiters;  /* threads that wait for the lock, without the GIL */
    atomic_bool inspected; /* request_guard_inspect() may be inside; the
                            * watchdog writes it */
#ifdef Py_GIL_DISABLED
    pthread_mutex_t state_lock;
    atomic_bool waits_inside; /* the thread inside is in a wait of ours; it
                               * writes it */
    struct request_guard *next_kept;
#endif
};

/* In an object of the request: its guard, until it expires. Written inside the
 * guard, read by any thread. */
typedef _Atomic(struct request_guard *) request_guard_ref;

/* The state lock. */
static inline void
request_guard_lock_state(struct request_guard *g)
{
#ifdef Py_GIL_DISABLED
    (void)pthread_mutex_lock(&g->state_lock);
#else
    (void)g;
#endif
}

static inline void
request_guard_unlock_state(struct request_guard *g)
{
#ifdef Py_GIL_DISABLED
    (void)pthread_mutex_unlock(&g->state_lock);
#else
    (void)g;
#endif
}

/* Call it in the thread that will use the guard. 0 or -errno. */
CHECK_RESULT int request_guard_init(struct request_guard *g);
void request_guard_fini(struct request_guard *g);

/* Its thread ends: true if the guard can be freed, after request_guard_fini().
 * False: another thread may still look at it, because it waits to enter a
 * request that is over. Where there is no GIL nobody knows: a thread may have
 * read the pointer of an object that expires now. So the guard then stays until
 * the process ends, which is soon. */
CHECK_RESULT bool request_guard_can_be_freed(struct request_guard *g);

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
 * as request_guard_check(), or another thread is inside; on a free-threaded
 * Python, if that waits for the client or the log, for where there is a GIL it
 * lets nobody see the rest. Python code that runs between enter and leave and
 * comes back here gets that RuntimeError, too. */
CHECK_RESULT int request_guard_enter(struct request_guard *g, const char *what);

/* The same for an object: the guard, to leave it, or NULL with an exception. The
 * request cannot end before request_guard_leave(); where it has ended by now,
 * this raises RuntimeError. */
CHECK_RESULT struct request_guard *
request_guard_enter_object(request_guard_ref *object_guard, const char *what);

/* The same without an exception: false if request_guard_enter() would raise, or
 * wait for the client. */
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
