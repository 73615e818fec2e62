#include "status/exit_idle.h"

#include <assert.h>

bool
exit_idle_is_due(struct exit_idle *e, struct scoreboard *b, int64_t limit_ms,
                 int64_t now_ms)
{
    struct score_totals t;

    if (limit_ms == 0) {
        return false;
    }
    scoreboard_totals(b, &t);
    /* What came and ended between two looks is seen from the sums. */
    uint64_t seen = t.accepted + t.requests;
    if (e->since_ms == 0 || seen != e->seen || t.active > 0) {
        e->seen = seen;
        e->since_ms = now_ms;
    }
    return now_ms - e->since_ms >= limit_ms;
}

int
exit_idle_pause(const struct exit_idle *e, int64_t limit_ms, int64_t now_ms,
                int at_most)
{
    int64_t due = e->since_ms + limit_ms;

    assert(at_most >= 0);
    if (limit_ms == 0 || e->since_ms == 0 || due >= now_ms + at_most) {
        return at_most;
    }
    return due > now_ms ? (int)(due - now_ms) : 0;
}
