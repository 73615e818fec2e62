#include "status/status_snapshot.h"

#include "base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* -- the whole ------------------------------------------------------------- */

static void
field(struct status_snapshot *shot, const char *name, const char *metric,
      bool is_counter, uint64_t value, const char *help)
{
    assert(shot->nfields < STATUS_FIELDS_MAX);
    shot->fields[shot->nfields++] = (struct status_field){
        .name = name,
        .metric = metric,
        .help = help,
        .is_counter = is_counter,
        .value = value,
    };
}

/* php-fpm's names. */
static void
add_queue_fields(struct status_snapshot *shot)
{
    size_t first = shot->nfields;

    field(shot, "listen queue", "listen_queue", false, shot->queue.waiting,
          "Connections that wait to be accepted.");
    field(shot, "max listen queue", "max_listen_queue", false,
          atomic_load(&shot->board->max_listen_queue),
          "Most connections seen waiting to be accepted.");
    field(shot, "listen queue len", "listen_queue_length", false,
          shot->queue.length, "How many connections may wait.");
    for (size_t i = first; i < shot->nfields; i++) {
        shot->fields[i].is_unknown = !shot->queue.is_known;
    }
}

/* With --processes MIN-MAX, all threads being busy is no news as long as there
 * may be more of them. */
static void
fill_limit_fields(struct status_snapshot *shot)
{
    struct scoreboard *b = shot->board;
    bool elastic = config_is_elastic(shot->config);

    field(shot, "min children", "min_processes", false,
          atomic_load(&b->min_workers),
          "MIN of --processes MIN-MAX, or their number; 0: no master.");
    field(shot, "max children", "max_processes", false,
          atomic_load(&b->max_workers),
          "MAX of --processes MIN-MAX, or their number; 0: no master.");
    field(shot, "max children reached", "all_busy", true,
          elastic ? atomic_load(&b->max_reached) : atomic_load(&b->all_busy),
          "How often all threads were seen busy; MIN-MAX: those of MAX.");
    field(shot, "max children seconds", "all_busy_seconds", true,
          (uint64_t)shot->max_reached_ms / 1000,
          "MIN-MAX: for how long MAX processes were too few.");
}

static void
fill_fields(struct status_snapshot *shot)
{
    const struct score_totals *t = &shot->totals;
    struct scoreboard *b = shot->board;

    field(shot, "accepted conn", "accepted_connections", true, t->accepted,
          "Connections accepted.");
    add_queue_fields(shot);
    field(shot, "requests", "requests", true, t->requests,
          "Requests answered.");
    field(shot, "failed requests", "failed_requests", true, t->failed,
          "Requests that ended in a 5xx of wsgi-cgi, or broke off.");
    field(shot, "client aborts", "client_aborts", true, t->client_aborts,
          "Requests whose client left, or stopped sending or reading.");
    field(shot, "slow requests", "slow_requests", true, t->slow,
          "Requests that ran longer than --slow.");
    field(shot, "timed out requests", "timed_out_requests", true, t->timeouts,
          "Requests that --request-timeout ended.");
    field(shot, "queue timeouts", "queue_timeouts", true, t->queue_timeouts,
          "Requests that --queue-timeout refused.");
    field(shot, "active requests", "active_requests", false, t->active,
          "Threads that are busy, also after a response.");
    field(shot, "max active requests", "max_active_requests", false,
          t->max_active, "Most threads busy at the same time.");
    field(shot, "threads", "threads", false, t->threads,
          "Requests that can run at the same time.");
    field(shot, "idle processes", "idle_processes", false, shot->idle_workers,
          "Processes that serve and have no request.");
    field(shot, "active processes", "active_processes", false,
          shot->active_workers, "Processes that have a request.");
    field(shot, "total processes", "processes", false, t->workers,
          "Processes, including those that start or finish.");
    field(shot, "starting processes", "starting_processes", false, t->starting,
          "Processes that are loading the application.");
    field(shot, "broken processes", "broken_processes", false, t->broken,
          "Processes whose application does not load.");
    field(shot, "draining processes", "draining_processes", false, t->draining,
          "Processes that finish their requests and end.");
    fill_limit_fields(shot);
    field(shot, "process deaths", "process_deaths", true,
          atomic_load(&b->deaths),
          "Processes that ended without being asked to.");
    field(shot, "reloads", "reloads", true, atomic_load(&b->reloads),
          "Successful reloads.");
    field(shot, "generation", "generation", false, atomic_load(&b->generation),
          "Generation of the code; grows by 1 with each reload.");
}

bool
status_has_gil(const struct status_snapshot *shot)
{
    return shot->known_gil == 0 ? shot->board->expects_gil : shot->with_gil > 0;
}

const char *
status_gil_text(const struct status_snapshot *shot, char to[STATUS_GIL_SIZE])
{
    if (shot->with_gil > 0 && shot->with_gil < shot->known_gil) {
        (void)snprintf(to, STATUS_GIL_SIZE, "GIL on in %u of %u processes",
                       shot->with_gil, shot->known_gil);
        return to;
    }
    return status_has_gil(shot) ? "GIL on" : "GIL off";
}

/* In php-fpm's words. */
static const char *
manager(const struct config *c)
{
    return c->processes == 0       ? "none"
           : !config_is_elastic(c) ? "static"
           : c->processes_min == 0 ? "ondemand"
                                   : "dynamic";
}

void
status_snapshot_take(struct status_snapshot *shot,
                     const struct status_source *from, bool full)
{
    const struct config *config = from->config;
    struct scoreboard *board = from->board;

    *shot = (struct status_snapshot){
        .config = config,
        .board = board,
        .full = full,
        .now_ms = clock_ms(),
        .pool = config->doctor               ? "--doctor"
                : config->app != NULL        ? config->app
                : config->scripts_in != NULL ? config->scripts_in
                                             : "",
        .manager = manager(config),
    };
    shot->since_s = (shot->now_ms - board->started_ms) / 1000;
    scoreboard_totals(board, &shot->totals);
    for (unsigned i = 0; i < board->nworkers; i++) {
        struct status_worker w;
        if (status_worker_get(shot, i, &w)) {
            bool has_started = w.state != SCORE_STARTING;
            shot->known_gil += has_started;
            shot->with_gil += has_started && w.gil;
            shot->active_workers += w.busy > 0;
            shot->idle_workers += w.busy == 0 && w.state != SCORE_STARTING &&
                                  w.state != SCORE_DRAINING;
        }
    }
    shot->queue =
        scoreboard_look_at_queue(board, from->listeners, from->nlisteners);
    int64_t since = atomic_load(&board->max_since_ms);
    shot->max_reached_ms = atomic_load(&board->max_reached_ms);
    if (since != 0 && since < shot->now_ms) {
        shot->max_reached_ms += shot->now_ms - since;
    }
    fill_fields(shot);
}

bool
status_worker_get(const struct status_snapshot *shot, unsigned i,
                  struct status_worker *ret)
{
    struct score_worker *w = &shot->board->workers[i];
    enum score_state state = atomic_load(&w->state);

    if (state == SCORE_FREE) {
        return false;
    }
    *ret = (struct status_worker){
        .state = state,
        .pid = atomic_load(&w->pid),
        .generation = atomic_load(&w->generation),
        .started_at = atomic_load(&w->started_at),
        .since_s = (shot->now_ms - atomic_load(&w->started_ms)) / 1000,
        .gil = atomic_load(&w->gil),
        .requests = atomic_load(&w->requests),
        .accepted = atomic_load(&w->accepted),
        .failed = atomic_load(&w->failed),
        .client_aborts = atomic_load(&w->client_aborts),
        .slow = atomic_load(&w->slow),
        .timeouts = atomic_load(&w->timeouts),
        .queue_timeouts = atomic_load(&w->queue_timeouts),
    };
    for (unsigned k = 0; k < shot->board->nthreads; k++) {
        const struct score_thread *t = scoreboard_thread(shot->board, i, k);
        ret->busy += score_is_busy(t);
    }
    return true;
}

/* The time since ms, which may be after now_ms. */
static int64_t
time_since(const struct status_snapshot *shot, int64_t ms)
{
    return ms < shot->now_ms ? (shot->now_ms - ms) * 1000 : 0;
}

void
status_thread_get(const struct status_snapshot *shot, unsigned worker,
                  unsigned thread, struct status_thread *ret)
{
    const struct score_thread *t =
        scoreboard_thread(shot->board, worker, thread);
    int64_t since_ms = atomic_load(&t->since_ms);
    int64_t after_ms = atomic_load(&t->after_ms);

    *ret = (struct status_thread){.requests = atomic_load(&t->requests),
                                  .duration_us = atomic_load(&t->last_us)};
    if (since_ms != 0) {
        ret->state = THREAD_RUNNING;
        ret->duration_us = time_since(shot, since_ms);
        (void)score_waited(t, shot->now_ms, &ret->wait);
    }
    else if (after_ms != 0) {
        ret->state = THREAD_FINISHING;
        ret->after_us = time_since(shot, after_ms);
    }
    if (!score_line(t, ret->line)) {
        ret->line[0] = '\0';
    }
}
