#include "worker/rebalance.h"

#include "net/conn.h"
#include "net/poller.h"
#include "worker/conn_passing.h"

#include <assert.h>
#include <unistd.h>

enum {
    LOOK_MS = 10,
    AGAIN_MS = 5,  /* to the second look, where the first saw something wait */
    VAIN_MS = 100, /* the same, at most, where nothing could be passed on */
    STUCK_MS = 20, /* no request has ended here for so long: all may hang */
    CALM_MS = 50   /* the same: no look until the next event */
};

/* True where this worker is another one and can take connections. */
static bool
may_serve(const struct pool *p, unsigned worker)
{
    enum score_state s = atomic_load(&p->s.board->workers[worker].state);

    return worker != p->s.worker && (s == SCORE_READY || s == SCORE_RECYCLE) &&
           !atomic_load(&p->s.board->workers[worker].full);
}

static bool
has_sibling(const struct pool *p)
{
    for (unsigned i = 0; i < p->s.board->nworkers; i++) {
        if (may_serve(p, i)) {
            return true;
        }
    }
    return false;
}

static bool
has_idle_sibling(const struct pool *p)
{
    for (unsigned i = 0; i < p->s.board->nworkers; i++) {
        if (may_serve(p, i) &&
            scoreboard_busy_threads(p->s.board, i) < p->s.board->nthreads) {
            return true;
        }
    }
    return false;
}

/* Requests that have ended in the other workers. Becomes less when one of them
 * cannot help any more. */
static uint64_t
served_elsewhere(const struct pool *p)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < p->s.board->nworkers; i++) {
        if (may_serve(p, i)) {
            n += atomic_load(&p->s.board->workers[i].requests);
        }
    }
    return n;
}

/* Something waits here at this look and waited at the last: would another
 * process serve it earlier? No, where each connection may have been served in
 * between. Yes, where another process has an idle thread; or where no request
 * ends here while requests end there, so that a thread becomes idle now and
 * then. */
static bool
is_help_at_hand(const struct rebalance *r, const struct pool *p, int64_t now_ms,
                uint64_t here, uint64_t elsewhere)
{
    return here - r->here < conn_table_open(p->conns.table) &&
           (has_idle_sibling(p) ||
            (elsewhere > r->elsewhere && now_ms - r->changed_ms >= STUCK_MS));
}

/* Something has waited here since the last look, or nothing has. */
static void
tell_master(const struct pool *p, bool is_starved, int64_t now_ms)
{
    struct score_worker *w = &p->s.board->workers[p->s.worker];
    const uint64_t one = 1;

    bool was = atomic_load_explicit(&w->starved_ms, memory_order_relaxed) != 0;
    if (is_starved || was) {
        atomic_store(&w->starved_ms, is_starved ? now_ms : 0);
    }
    if (is_starved && !was && atomic_load(&p->s.board->may_grow) &&
        write(p->s.master_wake_fd, &one, sizeof one) < 0) {
        return; /* full: it will wake up anyhow */
    }
}

static void
look(struct rebalance *r, struct pool *p, int64_t now_ms)
{
    uint64_t here = atomic_load(&p->s.board->workers[p->s.worker].requests);
    uint64_t elsewhere = served_elsewhere(p);
    bool waits = worker_conns_idle_threads(&p->conns) == 0 &&
                 poller_has_events(&p->conns.poller);
    bool vain = false;

    if (here != r->here || r->look_ms == 0) {
        r->changed_ms = now_ms;
    }
    if (waits && r->waits && is_help_at_hand(r, p, now_ms, here, elsewhere)) {
        vain = !conn_passing_send_waiting(&p->conns);
    }
    tell_master(p, waits && r->waits, now_ms);
    r->again_ms = vain ? 2 * r->again_ms : AGAIN_MS;
    if (r->again_ms > VAIN_MS) {
        r->again_ms = VAIN_MS;
    }
    r->waits = waits;
    r->here = here;
    r->elsewhere = elsewhere;
    r->look_ms = now_ms + (waits ? r->again_ms : LOOK_MS);
    if (!waits && now_ms - r->changed_ms >= CALM_MS) {
        r->look_ms = 0;
    }
}

/* A process that leaves sends its connections away anyhow. With --processes
 * 0-1 the master still wants to know that requests wait. */
static bool
is_wanted(const struct pool *p)
{
    return p->s.master_wake_fd >= 0 &&
           atomic_load_explicit(&p->stop, memory_order_relaxed) == FCGI_GO_ON &&
           (p->s.config->processes > 1 || config_is_elastic(p->s.config) ||
            has_sibling(p));
}

int
rebalance_fd(const struct rebalance *r, const struct pool *p)
{
    return r->look_ms == 0 && is_wanted(p) ? p->conns.poller.epoll_fd : -1;
}

int
rebalance_pause(const struct rebalance *r, int64_t now_ms, int at_most)
{
    assert(at_most >= 0);
    if (r->look_ms == 0 || r->look_ms >= now_ms + at_most) {
        return at_most;
    }
    return r->look_ms > now_ms ? (int)(r->look_ms - now_ms) : 0;
}

void
rebalance_run(struct rebalance *r, struct pool *p, int64_t now_ms)
{
    if (!is_wanted(p)) {
        *r = (struct rebalance){.look_ms = 0};
        return;
    }
    bool is_time = r->look_ms == 0 ? poller_has_events(&p->conns.poller)
                                   : now_ms >= r->look_ms;
    if (is_time) {
        look(r, p, now_ms);
    }
}
