/*
 * request_guard.h - the right of Python objects to use the running request
 *
 * What:      wsgi.input, start_response and write() hold a pointer to the guard
 *            of the thread that runs their request; at its end they are given
 *            NULL and raise RuntimeError from then on. The guard also keeps two
 *            threads of one application from being inside the request at once,
 *            and a forked child from answering for its parent.
 * Owner:     struct wsgi_thread; one request after the other.
 * Lifetime:  request_guard_init() to request_guard_fini(); in use request_guard_start() to request_guard_end().
 * Threads:   request_guard_enter(), request_guard_leave() any; the rest the request's thread.
 * GIL:       held, but while request_guard_enter() waits; the request's wait hooks, set
 *            here, release it around every wait.
 * Errors:    CPython's convention.
 * Blocks:    request_guard_enter() in the request's thread, while another thread of the
 *            application is inside (at most --body-timeout).
 */
#ifndef CONTEXT_REQUEST_GUARD_H
#define CONTEXT_REQUEST_GUARD_H

#include "python/python.h"

#include "gateway/request.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum guard_side { GUARD_RESPONSE, GUARD_REQUEST };

struct request_guard {
    struct request *q;    /* NULL between requests */
    pthread_mutex_t lock; /* whoever is inside the request */
    pthread_t thread;     /* the one that runs its requests */
    int gone;             /* -errno since the peer was found gone, 0 = not */
    enum guard_side gone_side; /* which body was on its way then */
    bool forked;               /* this process is a child of the request's */
    bool is_blocked; /* its thread is in one of our waits, without the GIL */
    /* interrupt.c's */
    bool may_interrupt; /* an exception would end in the request */
    bool async_exc_set; /* one has been set from another thread */
    struct request_guard *next;
    unsigned nwaiters;     /* threads that wait for the lock, without the GIL */
    atomic_bool inspected; /* request_guard_inspect() may be inside */
};

/* In the thread that will use it. 0 or -errno. */
CHECK_RESULT int request_guard_init(struct request_guard *g);
void request_guard_fini(struct request_guard *g);

/* Another thread waits for its turn in a request that is over, and will look at
 * the guard: it must not be freed, nor request_guard_fini() called. */
bool request_guard_has_waiters(const struct request_guard *g);

/* This thread now runs q. */
void request_guard_start(struct request_guard *g, struct request *q);

/* It does no longer; the caller has expired all objects that pointed here. */
void request_guard_end(struct request_guard *g);

/* The guard of the request this thread runs, NULL where it runs none or is in a
 * forked child. */
struct request_guard *request_guard_current(void);

/* What needs no look at g->q: 0, or -1 with RuntimeError: expired (NULL), or this
 * is a forked child. what names the object in the message. */
CHECK_RESULT int request_guard_check(const struct request_guard *g,
                                     const char *what);

/* Must surround every use of g->q; in the request's thread. 0, or -1 with RuntimeError: as
 * request_guard_check(), or another thread is inside. Python code that runs between enter
 * and leave and comes back here gets that RuntimeError, too. */
CHECK_RESULT int request_guard_enter(struct request_guard *g, const char *what);

/* The same for an object that keeps its guard in *object_guard, where the request may end
 * while this waits: then RuntimeError as well. */
CHECK_RESULT int
request_guard_enter_object(struct request_guard *const *object_guard,
                           const char *what);

/* The same without an exception: false where request_guard_enter() would raise or wait. */
CHECK_RESULT bool request_guard_try_enter(struct request_guard *g);

void request_guard_leave(struct request_guard *g);

/* request_guard_try_enter() for a moment, by a watchdog without the GIL: others wait for it. The
 * request (or NULL) stays as it is until request_guard_end_inspection(). */
CHECK_RESULT bool request_guard_inspect(struct request_guard *g);
void request_guard_end_inspection(struct request_guard *g);

/* The peer is gone, -errno says how, seen while the request's body was read or
 * while its response was sent; what is still logged about the request cannot go
 * to it. Inside the guard. */
void request_guard_set_gone(struct request_guard *g, int err,
                            enum guard_side side);

/* Raises the subclass of OSError for -errno with the text; always -1. */
int request_guard_raise(int err, const char *text);

#endif
