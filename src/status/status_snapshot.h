/*
 * status_snapshot.h - the scoreboard at one moment
 *
 * What:      what the four formats of the status page (HTML, text, JSON,
 *            OpenMetrics) have in common: the same numbers with the same names.
 * Owner:     status_page(), one for each page.
 * Lifetime:  one page. The scoreboard changes meanwhile.
 * Threads:   one at a time.                                      GIL: not used.
 * Errors:    those of the text writer.                           Blocks: never.
 */
#ifndef STATUS_STATUS_SNAPSHOT_H
#define STATUS_STATUS_SNAPSHOT_H

#include "conf/config.h"
#include "status/scoreboard.h"
#include "status/status.h"
#include "text/text_writer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A number for the whole program. */
struct status_field {
    const char *name; /* php-fpm's, if it has the same number */
    const char *metric, *help;
    bool is_counter, is_unknown;
    uint64_t value; /* unless it is unknown */
};

enum { STATUS_FIELDS_MAX = 40 };

struct status_snapshot {
    const struct config *config;
    struct scoreboard *board;
    bool full;
    unsigned own;     /* threads that this request keeps busy */
    int64_t now_ms;   /* clock_ms() */
    int64_t since_s;  /* since the start of the program */
    const char *pool; /* what is served, in the words of the command line */
    const char *manager;
    struct score_totals totals;
    struct listen_queue queue;
    unsigned idle_workers, active_workers;
    unsigned known_gil, with_gil; /* processes that have started, and those of
                                   * them whose threads take turns in Python */
    int64_t max_reached_ms;       /* for how long MAX workers were too few */
    struct status_field fields[STATUS_FIELDS_MAX];
    size_t nfields;
};

/* Of all processes, those that are known. */
bool status_has_gil(const struct status_snapshot *shot);

enum { STATUS_GIL_SIZE = 64 };

/* "GIL off", "GIL on", "GIL on in 1 of 2 processes". */
const char *status_gil_text(const struct status_snapshot *shot,
                            char to[STATUS_GIL_SIZE]);

void status_snapshot_take(struct status_snapshot *shot,
                          const struct status_source *from, bool full);

struct status_worker {
    enum score_state state;
    int pid;
    unsigned generation, busy; /* busy: threads */
    bool gil;                  /* its threads take turns in Python */
    int64_t started_at;        /* seconds since 1970 */
    int64_t since_s;
    uint64_t requests, accepted, failed, client_aborts, slow, timeouts;
    uint64_t queue_timeouts;
};

/* False: the slot is free. The memory is not here, but memory_kib_of(pid), which
 * makes system calls. */
bool status_worker_get(const struct status_snapshot *shot, unsigned i,
                       struct status_worker *ret);

enum status_thread_state { THREAD_IDLE, THREAD_RUNNING, THREAD_FINISHING };

struct status_thread {
    enum status_thread_state state; /* FINISHING: wsgi_cgi.after_response */
    enum client_wait_kind wait;     /* of a RUNNING one */
    uint64_t requests;
    int64_t duration_us;   /* of the running request, or of the last one */
    int64_t after_us;      /* FINISHING: for how long */
    char line[SCORE_LINE]; /* "GET /path" of that request, or "" */
};

void status_thread_get(const struct status_snapshot *shot, unsigned worker,
                       unsigned thread, struct status_thread *ret);

/* The formats: each adds the whole page. */
void status_html(struct text_writer *s, const struct status_snapshot *shot);
void status_text(struct text_writer *s, const struct status_snapshot *shot);
void status_json(struct text_writer *s, const struct status_snapshot *shot);
void status_metrics(struct text_writer *s, const struct status_snapshot *shot);

#endif
