/*
 * status_text.c - the status page for terminals, in the format of php-fpm
 */
#include "os/memory.h"
#include "status/status_snapshot.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

enum { COLUMN = 22 };

static void
add_name(struct text_writer *s, const char *name)
{
    int width = COLUMN - (int)strlen(name) - 1;
    assert(width > 0);
    text_writer_printf(s, "%s:%*s", name, width, "");
}

static void
add_number(struct text_writer *s, const char *name, uint64_t value)
{
    add_name(s, name);
    text_writer_printf(s, "%" PRIu64 "\n", value);
}

static void
add_line(struct text_writer *s, const char *name, const char *text)
{
    add_name(s, name);
    text_writer_safe(s, text);
    text_writer_text(s, "\n");
}

static void
add_request(struct text_writer *s, const struct status_thread *t)
{
    add_name(s, t->state == THREAD_RUNNING     ? "running request"
                : t->state == THREAD_FINISHING ? "finishing request"
                                               : "last request");
    text_writer_safe(s, t->line);
    if (t->wait != WAIT_NOT) {
        text_writer_printf(s, " (%s)", score_wait_name(t->wait));
    }
    text_writer_text(s, "\n");
}

static void
add_time(struct text_writer *s, const char *name, int64_t seconds)
{
    char text[64];
    time_t t = (time_t)seconds;
    struct tm tm;

    if (localtime_r(&t, &tm) != NULL &&
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %z", &tm) > 0) {
        add_line(s, name, text);
    }
}

static void
add_worker(struct text_writer *s, const struct status_snapshot *shot,
           unsigned i, const struct status_worker *w)
{
    text_writer_text(s, "\n************************\n");
    add_number(s, "pid", (uint64_t)w->pid);
    add_line(s, "state", score_state_name(w->state));
    add_number(s, "generation", w->generation);
    if (shot->board->python != NULL) {
        add_line(s, "gil", w->gil ? "on" : "off");
    }
    add_time(s, "start time", w->started_at);
    add_number(s, "start since", (uint64_t)w->since_s);
    add_number(s, "accepted conn", w->accepted);
    add_number(s, "requests", w->requests);
    add_number(s, "failed requests", w->failed);
    add_number(s, "client aborts", w->client_aborts);
    add_number(s, "slow requests", w->slow);
    add_number(s, "timed out requests", w->timeouts);
    add_number(s, "queue timeouts", w->queue_timeouts);
    uint64_t kib = memory_kib_of(w->pid);
    if (kib > 0) {
        add_number(s, "memory", kib * 1024);
    }
    else {
        add_line(s, "memory", "-");
    }
    for (unsigned k = 0; k < shot->board->nthreads; k++) {
        struct status_thread t;
        status_thread_get(shot, i, k, &t);
        if (t.state == THREAD_IDLE && t.line[0] == '\0') {
            continue;
        }
        add_request(s, &t);
        add_number(s, "request duration", (uint64_t)t.duration_us);
    }
}

void
status_text(struct text_writer *s, const struct status_snapshot *shot)
{
    add_line(s, "pool", shot->pool);
    add_line(s, "process manager", shot->manager);
    if (shot->board->python != NULL) {
        char gil[STATUS_GIL_SIZE];
        add_name(s, "python");
        text_writer_printf(s, "%s, %s\n", shot->board->python,
                           status_gil_text(shot, gil));
    }
    add_time(s, "start time", shot->board->started_at);
    add_number(s, "start since", (uint64_t)shot->since_s);
    for (size_t i = 0; i < shot->nfields; i++) {
        const struct status_field *f = &shot->fields[i];
        if (f->is_unknown) {
            add_line(s, f->name, "-");
        }
        else {
            add_number(s, f->name, f->value);
        }
    }
    for (unsigned i = 0; shot->full && i < shot->board->nworkers; i++) {
        struct status_worker w;
        if (status_worker_get(shot, i, &w)) {
            add_worker(s, shot, i, &w);
        }
    }
}
