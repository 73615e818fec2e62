/*
 * scoreboard.h - what each process and request thread is doing
 *
 * What:      shared memory with a slot for each worker process and for each of
 *            its request threads. The master, the control socket, --status-path
 *            and the watchdog read it at any time.
 * Owner:     the process that made it: the master or the one process. Workers
 *            inherit the mapping.
 * Lifetime:  as long as the processes.
 * Threads:   any. There is no lock: what changes is atomic, and each field says
 *            who writes it.                                      GIL: not used.
 * Errors:    0 or -errno.                                        Blocks: never.
 */
#ifndef STATUS_SCOREBOARD_H
#define STATUS_SCOREBOARD_H

#include "base/compiler.h"
#include "gateway/request.h"
#include "queue/listen_queue.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum score_state {
    SCORE_FREE,     /* no process has this slot */
    SCORE_STARTING, /* forked; has not loaded the application yet */
    SCORE_READY,    /* serves */
    SCORE_BROKEN,   /* serves error pages: the application does not load */
    SCORE_RECYCLE,  /* serves and waits to be replaced */
    SCORE_DRAINING, /* finishes its requests and takes no new ones */
    SCORE_STATE_MAX
};

enum {
    SCORE_CACHE_LINE = 64,
    SCORE_LINE = 160,
    /* In words of shared memory; the rest of the last one is zero. */
    SCORE_LINE_WORDS = SCORE_LINE / 8,
    SCORE_ID_WORDS = REQUEST_ID_MAX / 8 + 1
};

/* A request thread. It writes all fields itself, except one. */
struct score_thread {
    atomic_llong since_ms; /* clock_ms() when the request began, 0 = none */
    atomic_llong after_ms; /* ... when the work after it began, 0 = none */
    atomic_ullong serial;  /* grows by 1 with each request */
    /* The watchdog: the serial of a request that --request-timeout could not
     * end. Its client has an answer, and a stop does not wait for it. */
    atomic_ullong lost_serial;
    atomic_ullong requests;
    atomic_llong last_us;      /* duration of the last request */
    struct client_wait wait;   /* of this request or of the last one */
    _Atomic uint32_t text_seq; /* odd while line and id are being written */
    /* "GET /path" of this request or of the last one. */
    _Atomic uint64_t line[SCORE_LINE_WORDS];
    _Atomic uint64_t id[SCORE_ID_WORDS]; /* the request's id in the logs */
};

/* A worker process. The process that starts workers, which is the master or the
 * one process itself, sets and clears the slot, when no other process writes
 * it. */
struct score_worker {
    /* The worker, while it has the slot: its main thread READY or BROKEN, a
     * request thread READY instead of BROKEN, its control thread RECYCLE and
     * DRAINING. */
    _Atomic(enum score_state) state;
    /* The worker's request threads: it takes no connection from another one. */
    atomic_bool full;
    atomic_int pid;          /* the master, and the worker itself */
    atomic_uint generation;  /* of the code: grows by 1 with each reload */
    atomic_bool retires;     /* it is to leave because it is idle: the master */
    atomic_llong started_ms; /* clock_ms() */
    atomic_llong started_at; /* seconds since 1970 */
    /* The worker's request threads. */
    atomic_ullong requests;
    atomic_ullong queue_timeouts; /* requests that --queue-timeout refused */
    atomic_ullong accepted;       /* connections */
    atomic_ullong failed;         /* requests: REQUEST_FAILED ... */
    atomic_ullong client_aborts;  /* ... REQUEST_CLIENT_GONE */
    /* The worker's control thread, or the timeout thread of a CGI process. */
    atomic_ullong slow;     /* requests that ran longer than --slow */
    atomic_ullong timeouts; /* requests that --request-timeout ended */
    /* The worker's control thread. */
    atomic_llong starved_ms; /* clock_ms() of its last look, where requests have
                              * waited there for a thread; 0 = none have */
    atomic_uint conns;       /* open connections, a moment ago */
    /* The thread that starts Python, and any thread that loads a module. */
    atomic_bool gil; /* threads take turns (python/gil_state.h) */
};

struct scoreboard {
    /* Set once, before the first fork. */
    unsigned nworkers, nthreads; /* slots; threads of each worker */
    int64_t started_at;          /* seconds since 1970 */
    int64_t started_ms;          /* clock_ms() */
    const char *python;          /* "3.13.5 free-threaded", for people; NULL =
                                  * one that always has a GIL */
    bool expects_gil;            /* a process that starts now will have one */
    /* The master. */
    atomic_uint generation;
    atomic_bool stopping; /* workers that end are not replaced */
    atomic_uint reloads;  /* successful ones */
    atomic_uint deaths;   /* workers that ended without being asked to */
    atomic_uint min_workers, max_workers; /* how many there are to be; 0 and 0:
                                           * there is no master */
    /* The master, with --processes MIN-MAX. */
    atomic_bool may_grow;        /* it wants to know that requests wait */
    atomic_uint max_reached;     /* how often MAX workers were too few, ... */
    atomic_llong max_reached_ms; /* ... for how long, until the last end, ... */
    atomic_llong max_since_ms; /* ... and since when (clock_ms()); 0: enough */
    atomic_ullong gone_requests, gone_accepted, gone_failed, gone_client_aborts,
        gone_slow, gone_timeouts,
        gone_queue_timeouts; /* sums over workers that have ended */
    /* Workers and zygotes: the longest time that the application took to load,
     * in milliseconds. */
    atomic_llong load_ms;
    /* Workers: the generation whose slow load is in the log, 0 = none. */
    atomic_uint slow_load;
    /* Workers: the generation whose module that turned the GIL on is in the
     * log, 0 = none. */
    atomic_uint gil_logged;
    /* scoreboard_sample(). */
    atomic_uint all_busy; /* how often no thread was idle */
    /* Request threads: when the next line about --queue-timeout may be logged
     * (clock_is_due()). */
    _Atomic(int64_t) queue_log_due_ms;
    /* Any process: the longest listen queue that it has seen. */
    atomic_uint max_listen_queue;
    /* The request threads of all workers, in a cache line of their own: each
     * request writes here, and what is read often must not wait for that. One
     * sum over all workers, because several sums are never read at the same
     * moment. */
    _Alignas(SCORE_CACHE_LINE) atomic_int active; /* busy threads */
    atomic_int max_active; /* most of them at the same time */
    /* The threads follow. */
    _Alignas(SCORE_CACHE_LINE) struct score_worker workers[];
};

/* A board in shared memory with all slots free. NULL: no memory. */
CHECK_RESULT struct scoreboard *scoreboard_new(unsigned nworkers,
                                               unsigned nthreads);
void scoreboard_free(struct scoreboard **b);

struct score_thread *scoreboard_thread(struct scoreboard *b, unsigned worker,
                                       unsigned thread);

/* Gives a free slot to a process: STARTING, counters zero. */
void scoreboard_take(struct scoreboard *b, unsigned worker, pid_t pid,
                     unsigned generation);
/* Frees the slot; its counters are added to the gone_* sums, and its threads are
 * no longer busy. */
void scoreboard_release(struct scoreboard *b, unsigned worker);

/* In a program that has executed itself so often for new code. */
void scoreboard_set_reloads(struct scoreboard *b, unsigned reloads);

/* The application has been loaded, in so many milliseconds. */
void scoreboard_note_load(struct scoreboard *b, int64_t took_ms);

/* In milliseconds: a load that takes longer is considered to hang. */
int64_t scoreboard_load_limit(struct scoreboard *b);

/* The request thread calls these around each request. The first returns the
 * serial of the request; now_ms is clock_coarse_ms(). */
uint64_t score_begin(struct scoreboard *b, struct score_thread *t,
                     struct request *q);
void score_end(struct scoreboard *b, unsigned worker, struct score_thread *t,
               const struct request *q, int64_t now_ms);

/* The request that has begun has waited too long, and is refused. */
void score_queue_timeout(struct scoreboard *b, unsigned worker);

/* The request thread calls these around the work after a response
 * (wsgi_cgi.after_response): the request has ended, the thread is busy. */
void score_after_begin(struct scoreboard *b, struct score_thread *t);
void score_after_end(struct scoreboard *b, struct score_thread *t);

/* True while the thread cannot take a request. */
bool score_is_busy(const struct score_thread *t);

/* How many threads of a worker cannot take a request. */
unsigned scoreboard_busy_threads(struct scoreboard *b, unsigned worker);

/* True while a request runs that a stop has to wait for. */
bool score_is_serving(const struct score_thread *t);

/* How long the request has waited for its client until now_ms, and for what it
 * waits now; never more than it has run. */
int64_t score_waited(const struct score_thread *t, int64_t now_ms,
                     enum client_wait_kind *ret_kind);

/* "receiving the body", "sending the response"; "" for WAIT_NOT. */
const char *score_wait_name(enum client_wait_kind kind);

/* Copies the request line, never a mixture of two. False: there is none. */
bool score_line(const struct score_thread *t, char to[SCORE_LINE]);

/* The same for the id. */
bool score_id(const struct score_thread *t, char to[REQUEST_ID_MAX + 1]);

/* Sums over all workers, including those that have ended. */
struct score_totals {
    uint64_t requests, accepted, failed, client_aborts, slow, timeouts;
    uint64_t queue_timeouts;
    unsigned workers, ready, starting, draining, broken;
    unsigned threads; /* request threads */
    unsigned active;  /* those that are busy, never more than max_active */
    unsigned max_active;
};
void scoreboard_totals(struct scoreboard *b, struct score_totals *ret);

/* Counts for all_busy and, only while no thread is idle, for max_listen_queue.
 * The master or the control thread calls this once a second, so that requests
 * need not. */
void scoreboard_sample(struct scoreboard *b, const struct listener *listeners,
                       size_t n);

/* What waits at the listeners now, noted for max_listen_queue. */
struct listen_queue scoreboard_look_at_queue(struct scoreboard *b,
                                             const struct listener *listeners,
                                             size_t n);

const char *score_state_name(enum score_state s);

#endif
