/*
 * scoreboard.h - what every process and request thread is doing, in shared memory
 *
 * What:      one slot per worker process, in it one per request thread. Written by
 *            its owner with atomics only, read by anyone at any time (the master,
 *            the control socket, --status-path, the control thread's watchdog).
 * Owner:     the process that made it (master, or the one process); workers
 *            inherit the mapping.
 * Lifetime:  the process tree.
 * Threads:   any.                                                GIL: not used.
 * Errors:    0 or -errno.                                        Blocks: never.
 */
#ifndef STATUS_SCOREBOARD_H
#define STATUS_SCOREBOARD_H

#include "base/compiler.h"
#include "gateway/request.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum score_state {
    SCORE_FREE,     /* no process has this slot */
    SCORE_STARTING, /* forked, application not loaded yet */
    SCORE_READY,    /* serves */
    SCORE_BROKEN,   /* serves error pages: the application does not load */
    SCORE_RECYCLE,  /* serves, but asks to be replaced */
    SCORE_DRAINING, /* finishes what runs, takes nothing new */
    SCORE_STATE_MAX
};

enum {
    SCORE_LINE = 160,
    /* In words of shared memory, the last one filled up. */
    SCORE_LINE_WORDS = SCORE_LINE / 8,
    SCORE_ID_WORDS = REQUEST_ID_MAX / 8 + 1
};

struct score_thread {
    atomic_llong since_ms; /* clock_ms() when the request began; 0 = none */
    atomic_llong after_ms; /* ... when the work after it began; 0 = none */
    atomic_ullong serial;  /* of the request in hand; changes with each */
    atomic_ullong requests;
    atomic_llong last_us;      /* duration of the last request */
    _Atomic uint32_t text_seq; /* odd while these two are being written: */
    _Atomic uint64_t
        line[SCORE_LINE_WORDS];          /* "GET /path", of the request or the
                                              * last one */
    _Atomic uint64_t id[SCORE_ID_WORDS]; /* what the logs call it */
};

struct score_worker {
    _Atomic(enum score_state) state;
    atomic_bool full; /* takes no connection from another process */
    atomic_int pid;
    atomic_uint generation;  /* of the code: one more with every reload */
    atomic_llong started_ms; /* clock_ms() */
    atomic_llong started_at; /* seconds since 1970 */
    atomic_ullong requests;
    atomic_ullong accepted; /* connections */
    atomic_ullong failed;   /* requests that ended in a 500 or an abort */
    atomic_ullong slow;     /* older than --slow */
    atomic_ullong timeouts; /* ended by --request-timeout */
    atomic_llong rss_kib;   /* after the last request that looked */
};

struct scoreboard {
    unsigned nworkers, nthreads; /* slots; threads of each worker */
    int64_t started_at;          /* seconds since 1970 */
    int64_t started_ms;
    atomic_uint generation;
    atomic_bool stopping;   /* of all: a worker that leaves is not replaced */
    atomic_uint reloads;    /* that succeeded */
    atomic_llong load_ms;   /* the longest that the application took to load */
    atomic_uint deaths;     /* workers that ended unasked */
    atomic_uint max_active; /* most requests at once */
    atomic_ullong gone_requests, gone_accepted, gone_failed, gone_slow,
        gone_timeouts;             /* of workers that have ended */
    atomic_uint all_busy;          /* times that no thread was idle */
    struct score_worker workers[]; /* then the threads */
};

/* A zeroed board in shared memory. NULL: no memory. */
CHECK_RESULT struct scoreboard *scoreboard_new(unsigned nworkers,
                                               unsigned nthreads);
void scoreboard_free(struct scoreboard **b);

struct score_thread *scoreboard_thread(struct scoreboard *b, unsigned worker,
                                       unsigned thread);

/* The slot of a process: STARTING, counters zero. */
void scoreboard_take(struct scoreboard *b, unsigned worker, pid_t pid,
                     unsigned generation);
/* Its end: counters go to the gone_* sums. */
void scoreboard_release(struct scoreboard *b, unsigned worker);

/* The application has been loaded, which took so long. */
void scoreboard_note_load(struct scoreboard *b, int64_t took_ms);

/* In milliseconds: a load that takes longer hangs. */
int64_t scoreboard_load_limit(struct scoreboard *b);

/* Around every request, by its thread. The request's serial. */
uint64_t score_begin(struct score_thread *t, struct request *q);
void score_end(struct scoreboard *b, unsigned worker, struct score_thread *t,
               const struct request *q);

/* Around what an application does after its response (wsgi_cgi.after_response):
 * the thread is busy, the request has ended. */
void score_after_begin(struct score_thread *t);
void score_after_end(struct score_thread *t);

/* True while the thread can take no request. */
bool score_is_busy(const struct score_thread *t);

/* A consistent copy of the request line; true where one is there. */
bool score_line(const struct score_thread *t, char to[SCORE_LINE]);

/* The same of the id. */
bool score_id(const struct score_thread *t, char to[REQUEST_ID_MAX + 1]);

/* Sums over all workers, those that have ended included. */
struct score_totals {
    uint64_t requests, accepted, failed, slow, timeouts;
    unsigned workers, ready, starting, draining, broken;
    unsigned threads, active; /* request threads; those that are busy */
};
void scoreboard_totals(struct scoreboard *b, struct score_totals *ret);

/* Notes how many threads are busy now, for max_active and all_busy: once a
 * second by whoever watches, not by every request. */
void scoreboard_sample(struct scoreboard *b);

const char *score_state_name(enum score_state s);

#endif
