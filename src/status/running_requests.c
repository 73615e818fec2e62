/*
 * running_requests.c - says in the log which requests a stop waits for, and
 *                      which it cuts off
 */
#include "status/running_requests.h"

#include "base/clock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NAMED_MAX = 16 };

/* Threads that are busy, with a request or with the work after one. */
struct running {
    unsigned requests, after;
};

static void
count(struct scoreboard *b, unsigned worker, struct running *r)
{
    for (unsigned i = 0; i < b->nthreads; i++) {
        const struct score_thread *t = scoreboard_thread(b, worker, i);
        if (score_is_serving(t)) {
            r->requests++;
        }
        else if (atomic_load(&t->after_ms) != 0) {
            r->after++;
        }
    }
}

unsigned
running_requests_count(struct scoreboard *b, unsigned worker)
{
    struct running r = {0, 0};

    count(b, worker, &r);
    return r.requests + r.after;
}

static const char *
plural(unsigned n)
{
    return n == 1 ? "" : "s";
}

void
running_requests_log_wait(struct scoreboard *b, int64_t most_ms)
{
    struct running r = {0, 0};
    char requests[64] = "", after[64] = "";
    bool is_whole = most_ms % 1000 == 0;

    for (unsigned i = 0; i < b->nworkers; i++) {
        count(b, i, &r);
    }
    if (r.requests > 0) {
        (void)snprintf(requests, sizeof requests, "%u request%s", r.requests,
                       plural(r.requests));
    }
    if (r.after > 0) {
        (void)snprintf(after, sizeof after, "%sthe work after %u response%s",
                       r.requests > 0 ? " and " : "", r.after, plural(r.after));
    }
    if (r.requests + r.after > 0) {
        log_notice("stopping: waiting up to %" PRId64 " %s for %s%s; a second "
                   "SIGTERM stops at once",
                   is_whole ? most_ms / 1000 : most_ms, is_whole ? "s" : "ms",
                   requests, after);
    }
}

/* Without the query, which may have secrets. False: the thread is idle. */
static bool
log_one(struct scoreboard *b, unsigned worker, unsigned thread,
        enum log_level level, int64_t now)
{
    const struct score_thread *t = scoreboard_thread(b, worker, thread);
    bool is_after = !score_is_serving(t);
    int64_t since = is_after ? 0 : atomic_load(&t->since_ms);
    char line[SCORE_LINE] = "", id[REQUEST_ID_MAX + 1], text[96];

    since = is_after ? atomic_load(&t->after_ms) : since;
    if (since == 0) {
        return false;
    }
    int64_t ran = now > since ? now - since : 0;
    (void)snprintf(text, sizeof text,
                   "%scut off after %" PRId64 ".%03" PRId64 " s in process %d",
                   is_after ? "the work after the response is " : "",
                   ran / 1000, ran % 1000,
                   atomic_load(&b->workers[worker].pid));
    bool has_line = score_line(t, line);
    line[strcspn(line, "?")] = '\0';
    log_entry(&(struct log_entry){.level = level,
                                  .id = score_id(t, id) ? id : NULL,
                                  .request = has_line ? line : NULL,
                                  .text = text});
    return true;
}

void
running_requests_log_cut_off(struct scoreboard *b, unsigned worker,
                             enum log_level level)
{
    int64_t now = clock_ms();
    unsigned named = 0;
    char text[32];

    assert(worker < b->nworkers);
    if (!log_wants(level)) {
        return;
    }
    unsigned all = running_requests_count(b, worker);
    for (unsigned i = 0; i < b->nthreads && named < NAMED_MAX; i++) {
        named += log_one(b, worker, i, level, now);
    }
    if (all > named) {
        (void)snprintf(text, sizeof text, "and %u more are cut off",
                       all - named);
        log_entry(&(struct log_entry){.level = level, .text = text});
    }
}
