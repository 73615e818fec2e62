/*
 * lease.h - the right of Python objects to use the running request
 *
 * What:      wsgi.input, start_response and write() hold a pointer to the lease
 *            of the thread that runs their request; at its end they are given
 *            NULL and raise RuntimeError from then on. The lease also keeps two
 *            threads of one application from being inside the request at once,
 *            and a forked child from answering for its parent.
 * Owner:     struct wsgi_thread; one request after the other.
 * Lifetime:  lease_init() to lease_fini(); in use lease_start() to lease_end().
 * Threads:   lease_enter(), lease_leave() any; the rest the request's thread.
 * GIL:       held, but while lease_enter() waits; the request's wait hooks, set
 *            here, release it around every wait.
 * Errors:    CPython's convention.
 * Blocks:    lease_enter() in the request's thread, while another thread of the
 *            application is inside (at most --body-timeout).
 */
#ifndef CONTEXT_LEASE_H
#define CONTEXT_LEASE_H

#include "python/python.h"

#include "gateway/request.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum lease_side { LEASE_RESPONSE, LEASE_REQUEST };

struct lease {
    struct request *q;    /* NULL between requests */
    pthread_mutex_t lock; /* whoever is inside the request */
    pthread_t thread;     /* the one that runs its requests */
    int gone;             /* -errno since the peer was found gone, 0 = not */
    enum lease_side gone_side; /* which body was on its way then */
    bool forked;               /* this process is a child of the request's */
    bool waiting; /* its thread is in one of our waits, without the GIL */
    /* interrupt.c's */
    bool may_interrupt; /* an exception would end in the request */
    bool async;         /* one has been set from another thread */
    struct lease *next;
    unsigned waiters;   /* threads that wait for the lock, without the GIL */
    atomic_bool peeked; /* lease_peek() may be inside */
};

/* In the thread that will use it. 0 or -errno. */
CHECK_RESULT int lease_init(struct lease *l);
void lease_fini(struct lease *l);

/* Another thread waits for its turn in a request that is over, and will look at
 * the lease: it must not be freed, nor lease_fini() called. */
bool lease_is_awaited(const struct lease *l);

/* This thread now runs q. */
void lease_start(struct lease *l, struct request *q);

/* It does no longer; the caller has expired all objects that pointed here. */
void lease_end(struct lease *l);

/* The lease of the request this thread runs, NULL where it runs none or is in a
 * forked child. */
struct lease *lease_current(void);

/* What needs no look at l->q: 0, or -1 with RuntimeError: expired (NULL), or this
 * is a forked child. what names the object in the message. */
CHECK_RESULT int lease_check(const struct lease *l, const char *what);

/* Must surround every use of l->q; in the request's thread. 0, or -1 with RuntimeError: as
 * lease_check(), or another thread is inside. Python code that runs between enter
 * and leave and comes back here gets that RuntimeError, too. */
CHECK_RESULT int lease_enter(struct lease *l, const char *what);

/* The same for an object that keeps its lease in *held, where the request may end
 * while this waits: then RuntimeError as well. */
CHECK_RESULT int lease_enter_held(struct lease *const *held, const char *what);

/* The same without an exception: false where lease_enter() would raise or wait. */
CHECK_RESULT bool lease_try(struct lease *l);

void lease_leave(struct lease *l);

/* lease_try() for a moment, by a watchdog without the GIL: others wait for it. The
 * request (or NULL) stays as it is until lease_peek_end(). */
CHECK_RESULT bool lease_peek(struct lease *l);
void lease_peek_end(struct lease *l);

/* The peer is gone, -errno says how, seen while the request's body was read or
 * while its response was sent; what is still logged about the request cannot go
 * to it. Inside the lease. */
void lease_set_gone(struct lease *l, int err, enum lease_side side);

/* Raises the subclass of OSError for -errno with the text; always -1. */
int lease_raise(int err, const char *text);

#endif
