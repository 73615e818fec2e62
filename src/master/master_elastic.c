#include "master/master_elastic.h"

#include "base/clock.h"
#include "master/master_state.h"
#include "master/master_workers.h"
#include "os/fd.h"
#include "os/log.h"
#include "queue/listen_queue.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>

enum {
    STEP_MAX = 32, /* workers at once, and in a second */
    SECOND_MS = 1000,
    CALM_MS = 100,       /* so long without need: the next step is 1 again */
    PATIENCE_MS = 5000,  /* and twice the longest load: for those that start */
    SETTLE_MS = 10,      /* for a new worker to take what waits */
    LOOK_MS = 5,         /* between two looks while requests wait */
    STARTING_MS = 100,   /* the same, while workers start */
    RETIRE_MS = 100,     /* between two idle workers that are asked to leave */
    MAX_LOG_MS = 1000,   /* so long MAX workers were too few: worth a line */
    MAX_EVERY_MS = 60000 /* but not every time */
};

static bool
is_elastic(const struct master *m)
{
    return config_is_elastic(m->s->config);
}

static void
publish_limits(struct master *m)
{
    atomic_store(&m->board->min_workers, m->elastic.min);
    atomic_store(&m->board->max_workers, m->elastic.max);
}

void
master_elastic_begin(struct master *m)
{
    const struct config *c = m->s->config;

    m->elastic = (struct elastic){.min = c->processes_min,
                                  .max = c->processes,
                                  .watch_fd = -1,
                                  .wanted_ms = clock_ms()};
    m->target = c->processes_min;
    if (c->need_app && m->target == 0) {
        m->target = 1;
    }
    publish_limits(m);
}

void
master_elastic_end(struct master *m)
{
    fd_close(&m->elastic.watch_fd);
}

/* -- what the workers do --------------------------------------------------- */

struct view {
    unsigned staying, serving; /* workers; staying includes those that start */
    unsigned retired;          /* leave because they were idle */
    unsigned busy, conns;      /* threads and connections of those that serve */
    bool has_idle_thread;
    int64_t starved_ms; /* the last look at which one had requests that waited;
                         * 0 = nothing waits */
};

/* One that starts is not idle. */
static void
note_activity(struct master *m, unsigned i, unsigned busy, int64_t now)
{
    struct elastic_slot *e = &m->slots[i].elastic;
    struct score_worker *w = &m->board->workers[i];
    uint64_t served = atomic_load(&w->requests) + atomic_load(&w->accepted);

    if (busy > 0 || served != e->served || e->active_ms == 0 ||
        !state_is_serving(atomic_load(&w->state))) {
        e->served = served;
        e->active_ms = now;
    }
}

static struct view
look(struct master *m, int64_t now)
{
    struct view v = {0};

    for (unsigned i = 0; i < m->board->nworkers; i++) {
        const struct slot *s = &m->slots[i];
        if (slot_is_free(s)) {
            continue;
        }
        if (s->leaving) {
            v.retired += s->is_retired;
            continue;
        }
        unsigned busy = scoreboard_busy_threads(m->board, i);
        int64_t starved = atomic_load(&m->board->workers[i].starved_ms);
        note_activity(m, i, busy, now);
        v.staying++;
        if (state_is_serving(worker_state(m, i))) {
            v.serving++;
            v.busy += busy;
            v.conns += atomic_load(&m->board->workers[i].conns);
            v.has_idle_thread = v.has_idle_thread || busy < m->board->nthreads;
            v.starved_ms = starved > v.starved_ms ? starved : v.starved_ms;
        }
    }
    return v;
}

/* -- where there is no worker ---------------------------------------------- */

static int
watch(const struct master *m)
{
    struct epoll_event ev = {.events = EPOLLIN};
    int fd = epoll_create1(EPOLL_CLOEXEC);
    /* A worker that has left may have passed on a connection that is kept. */
    int e = fd < 0 ? -1
                   : epoll_ctl(fd, EPOLL_CTL_ADD, m->s->fd_passing->receive_fd,
                               &ev);

    for (size_t i = 0; e == 0 && i < m->s->nlisteners; i++) {
        e = epoll_ctl(fd, EPOLL_CTL_ADD, m->s->listeners[i].fd, &ev);
    }
    if (e < 0) {
        e = -errno;
        fd_close(&fd);
        return e;
    }
    return fd;
}

/* Nobody but the master can see that somebody waits. */
static bool
is_waited_for(struct master *m)
{
    struct pollfd p = {.fd = m->elastic.watch_fd, .events = POLLIN};

    if (p.fd < 0) {
        p.fd = m->elastic.watch_fd = watch(m);
    }
    if (p.fd < 0) {
        log_error("watching the sockets: %s: a worker is started",
                  strerror(-p.fd));
        m->elastic.watch_fd = -1;
        return true;
    }
    return poll(&p, 1, 0) > 0;
}

/* -- more ------------------------------------------------------------------ */

static void
log_max(struct master *m, int64_t now)
{
    struct elastic *e = &m->elastic;

    if (!e->is_max_logged &&
        (e->max_log_ms == 0 || now - e->max_log_ms >= MAX_EVERY_MS)) {
        log_warning("--processes: all threads of %u worker%s, the most that "
                    "there may be, are busy, and requests wait: raise MAX, or "
                    "--threads",
                    e->max, e->max == 1 ? "" : "s");
        e->max_log_ms = now;
        e->is_max_logged = true;
    }
}

static void
end_max(struct master *m)
{
    struct scoreboard *b = m->board;
    int64_t since = atomic_load(&b->max_since_ms);
    int64_t lasted = m->elastic.wanted_ms - since;

    atomic_fetch_add(&b->max_reached_ms, lasted);
    atomic_store(&b->max_since_ms, 0);
    if (m->elastic.is_max_logged) {
        m->elastic.is_max_logged = false;
        log_notice("--processes: %u worker%s enough again, after "
                   "%lld.%03lld s",
                   m->elastic.max, m->elastic.max == 1 ? " is" : "s are",
                   (long long)(lasted / 1000), (long long)(lasted % 1000));
    }
}

/* Are MAX workers too few? */
static void
note_max(struct master *m, bool is_wanted, int64_t now)
{
    int64_t since = atomic_load(&m->board->max_since_ms);

    if (since == 0 && is_wanted) {
        atomic_store(&m->board->max_since_ms, now);
        atomic_fetch_add(&m->board->max_reached, 1);
    }
    else if (since != 0 && is_wanted && now - since >= MAX_LOG_MS) {
        log_max(m, now);
    }
    else if (since != 0 && now - m->elastic.wanted_ms >= SECOND_MS) {
        end_max(m);
    }
}

/* True where those that were asked for are there, or take so long that they may
 * never be. */
static bool
is_settled(const struct master *m, const struct view *v, int64_t now)
{
    int64_t patience =
        PATIENCE_MS + 2 * (int64_t)atomic_load(&m->board->load_ms);

    return (v->serving == v->staying && v->staying >= m->target) ||
           now - m->elastic.grown_ms >= patience;
}

/* How many more MAX leaves room for. Nobody has to wait for the end of the last
 * one that was idle. */
static unsigned
room_for(const struct master *m, const struct view *v)
{
    unsigned used = m->target + v->retired;

    return used < m->elastic.max ? m->elastic.max - used
           : m->target == 0      ? 1
                                 : 0;
}

/* How many more there may be now, of n. */
static unsigned
allowed(struct master *m, const struct view *v, unsigned n, int64_t now)
{
    struct elastic *e = &m->elastic;
    unsigned room = room_for(m, v);

    if (now - e->second_ms >= SECOND_MS) {
        e->second_ms = now;
        e->in_second = 0;
    }
    assert(e->in_second <= STEP_MAX);
    room = room < STEP_MAX - e->in_second ? room : STEP_MAX - e->in_second;
    return n < room ? n : room;
}

/* For how many there is work, most or less. Nobody knows how many requests wait
 * on connections that are kept. */
static unsigned
useful(const struct master *m, const struct view *v, unsigned most)
{
    if (most <= 1 || v->conns > v->busy) {
        return most;
    }
    struct listen_queue q =
        listen_queue_look(m->s->listeners, m->s->nlisteners);
    unsigned threads = m->board->nthreads;
    unsigned n = q.waiting / threads + (q.waiting % threads != 0);

    return q.is_known && n > 0 && n < most ? n : most;
}

/* 1, then 2, 4 and so on for as long as more are wanted. */
static void
grow(struct master *m, const struct view *v, int64_t now)
{
    struct elastic *e = &m->elastic;
    unsigned step = e->step == 0             ? 1
                    : 2 * e->step < STEP_MAX ? 2 * e->step
                                             : STEP_MAX;

    if (now < m->not_before || !is_settled(m, v, now) ||
        (v->serving > 0 && !master_has_ready_workers(m->board))) {
        return; /* the last: more error pages help nobody */
    }
    unsigned n = useful(m, v, allowed(m, v, step, now));
    if (n > 0) {
        log_debug("requests wait: %u more than %u workers", n, m->target);
        m->target += n;
        e->in_second += n;
        e->step = step;
        e->grown_ms = now;
    }
}

/* -- fewer ----------------------------------------------------------------- */

static bool
is_idle(const struct master *m, unsigned i, int64_t now)
{
    const struct slot *s = &m->slots[i];

    return !slot_is_free(s) && !s->leaving &&
           state_is_serving(worker_state(m, i)) &&
           now - s->elastic.active_ms >= m->s->config->idle_timeout_ms;
}

/* The youngest of those that are idle: the kernel wakes the oldest first, so
 * that requests come to it again. -1: none is. */
static int
find_idle(const struct master *m, int64_t now)
{
    int64_t best_ms = 0;
    int best = -1;

    for (unsigned i = 0; i < m->board->nworkers; i++) {
        int64_t started = atomic_load(&m->board->workers[i].started_ms);
        if (is_idle(m, i, now) && started >= best_ms) {
            best_ms = started;
            best = (int)i;
        }
    }
    return best;
}

/* Another worker takes over the connections of one that leaves. The last one
 * stays while a web server keeps a connection to it. */
static bool
is_last_kept(const struct master *m, const struct view *v, unsigned i)
{
    return v->serving == 1 && atomic_load(&m->board->workers[i].conns) > 0;
}

/* Those that still load the application do not count: that may take long, or
 * for ever. */
static bool
is_needed(const struct master *m, const struct view *v)
{
    unsigned least = m->elastic.min > 1 ? m->elastic.min : 1;

    return v->serving < v->staying && v->serving <= least;
}

static void
shrink(struct master *m, const struct view *v, int64_t now)
{
    struct elastic *e = &m->elastic;

    if (m->target <= e->min || now - e->retired_ms < RETIRE_MS) {
        return;
    }
    if (m->target > v->staying &&
        now - e->wanted_ms >= m->s->config->idle_timeout_ms) {
        /* They do not start, and nobody waits for them. */
        m->target = v->staying > e->min ? v->staying : e->min;
        return;
    }
    int who = v->staying == m->target ? find_idle(m, now) : -1;
    if (who < 0 || is_needed(m, v) || is_last_kept(m, v, (unsigned)who)) {
        return;
    }
    log_debug("worker %ld is idle", (long)m->slots[who].pid);
    m->target--;
    e->retired_ms = now;
    master_retire_worker(m, (unsigned)who);
}

/* -- all of it ------------------------------------------------------------- */

/* When to look again. Where more workers are wanted but not allowed, the
 * master's usual rounds are enough. */
static void
plan(struct master *m, const struct view *v, int64_t now)
{
    struct elastic *e = &m->elastic;
    bool may_grow = m->target < e->max;
    /* Those that start wake the master when they are ready. */
    bool is_soon = v->serving == v->staying && v->staying == m->target &&
                   !e->has_seen && now >= m->not_before;

    e->next_ms = INT64_MAX;
    atomic_store(&m->board->may_grow, may_grow);
    if (may_grow && (v->starved_ms != 0 || e->has_seen)) {
        e->next_ms = now + (is_soon ? LOOK_MS : STARTING_MS);
    }
    for (unsigned i = 0; m->target > e->min && i < m->board->nworkers; i++) {
        const struct slot *s = &m->slots[i];
        int64_t due = s->elastic.active_ms + m->s->config->idle_timeout_ms;
        if (slot_is_free(s) || s->leaving || is_last_kept(m, v, i)) {
            continue;
        }
        due = due > now + RETIRE_MS ? due : now + RETIRE_MS;
        e->next_ms = due < e->next_ms ? due : e->next_ms;
    }
}

void
master_elastic_run(struct master *m, int64_t now)
{
    struct elastic *e = &m->elastic;

    if (!is_elastic(m)) {
        return;
    }
    struct view v = look(m, now);
    if (v.serving != e->serving) {
        e->serving = v.serving;
        e->serving_ms = now;
    }
    bool is_empty = v.staying == 0 && m->target == 0;
    bool is_wanted = is_empty ? is_waited_for(m)
                              : !v.has_idle_thread &&
                                    v.starved_ms > e->serving_ms + SETTLE_MS;
    e->has_seen = is_empty && is_wanted;
    if (!is_empty) {
        fd_close(&e->watch_fd);
    }
    if (is_empty || (!is_wanted && now - e->wanted_ms >= CALM_MS &&
                     now - e->serving_ms >= CALM_MS)) {
        e->step = 0;
    }
    if (is_wanted) {
        e->wanted_ms = now;
    }
    note_max(m, is_wanted && room_for(m, &v) == 0 && is_settled(m, &v, now),
             now);
    if (is_wanted) {
        grow(m, &v, now);
    }
    else if (!m->reloading) {
        shrink(m, &v, now);
    }
    plan(m, &v, now);
}

int
master_elastic_fd(const struct master *m)
{
    return m->elastic.has_seen ? -1 : m->elastic.watch_fd;
}

int
master_elastic_pause(const struct master *m, int64_t now, int at_most)
{
    int64_t next = m->elastic.next_ms;

    if (!is_elastic(m) || next >= now + at_most) {
        return at_most;
    }
    return next > now ? (int)(next - now) : 0;
}

void
master_elastic_change(struct master *m, unsigned more, unsigned less)
{
    struct elastic *e = &m->elastic;
    unsigned most = m->board->nworkers / 2;
    unsigned least = is_elastic(m) && e->min > 0 ? e->min : 1;

    if (more == 0 && less == 0) {
        return;
    }
    e->max += more;
    e->max = e->max > less && e->max - less > least ? e->max - less : least;
    if (e->max > most) {
        e->max = most;
    }
    if (!is_elastic(m)) {
        m->target = e->min = e->max;
    }
    else if (m->target > e->max) {
        m->target = e->max;
    }
    publish_limits(m);
}

void
master_elastic_note_death(struct master *m)
{
    for (unsigned i = 0; i < m->board->nworkers; i++) {
        if (!slot_is_free(&m->slots[i]) && !m->slots[i].leaving) {
            return;
        }
    }
    if (is_elastic(m) && m->elastic.min == 0 && !m->reloading) {
        m->target = 0;
    }
}

bool
master_elastic_sleeps(struct master *m)
{
    const struct zygote *z = master_current_zygote(m);

    return m->target == 0 &&
           (!m->s->config->preload || (z != NULL && zygote_is_able(z)));
}
