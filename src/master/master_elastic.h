/*
 * master_elastic.h - as many workers as the requests need (--processes MIN-MAX)
 *
 * What:      asks for more workers where requests wait while every thread of
 *            every worker is busy, and ends those that have been idle for
 *            --idle-timeout.
 * How:       request threads do nothing for this. The control thread of a
 *            worker notes on the scoreboard that requests wait for its threads
 *            (worker/rebalance.c), and wakes the master. Where no worker is
 *            left, the master watches the listening sockets itself.
 * Owner:     the master.
 * Threads:   one.                                                GIL: not used.
 * Errors:    logs, and tries again later.                        Blocks: never.
 */
#ifndef MASTER_MASTER_ELASTIC_H
#define MASTER_MASTER_ELASTIC_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>

struct master;

/* All times are clock_ms(). */
struct elastic {
    unsigned min, max; /* MIN and MAX; the signals TTIN and TTOU change them */
    int watch_fd;      /* readable: somebody waits, and there is no worker; -1
                          * = there is one */
    bool has_seen;     /* somebody does: no need to watch for it */
    unsigned step;     /* how many were started the last time; 0 = calm */
    int64_t grown_ms;  /* the last time */
    int64_t second_ms; /* in the second that began here, so many: */
    unsigned in_second;
    unsigned serving; /* workers that serve; since: */
    int64_t serving_ms;
    int64_t wanted_ms;  /* more were wanted at that time */
    int64_t retired_ms; /* an idle one was asked to leave */
    int64_t next_ms;    /* of the next look */
    int64_t max_log_ms; /* "all threads of MAX ..." was logged; 0 = never */
    bool is_max_logged; /* and this time is not over */
};

/* Of a slot. */
struct elastic_slot {
    uint64_t served;   /* requests and connections at the last look */
    int64_t active_ms; /* the last look at which it was not idle */
};

/* m->target is MIN, or 1 where --need-app wants to see a load. */
void master_elastic_begin(struct master *m);

/* Closes what is open. */
void master_elastic_end(struct master *m);

/* In every round, while the master does not stop. */
void master_elastic_run(struct master *m, int64_t now);

/* What to wait for, readable in poll's sense; -1 = nothing. */
CHECK_RESULT int master_elastic_fd(const struct master *m);

/* How many ms to wait for the next round, at_most or less. */
CHECK_RESULT int master_elastic_pause(const struct master *m, int64_t now,
                                      int at_most);

/* TTIN and TTOU: so many more or less. */
void master_elastic_change(struct master *m, unsigned more, unsigned less);

/* A worker has died. Where no other one is left, the next request starts one. */
void master_elastic_note_death(struct master *m);

/* True where there is no worker because no request has come, and the next one
 * will be served. */
bool master_elastic_sleeps(struct master *m);

#endif
