/*
 * status_json.c - the status page as JSON
 */
#include "os/memory.h"
#include "status/status_snapshot.h"
#include "text/json.h"

#include <inttypes.h>
#include <string.h>

static void
add_string(struct text_writer *s, const char *text, size_t n)
{
    if (s->err == 0) {
        s->err = json_add(s->out, text, n);
    }
}

static const char *
state_name(enum status_thread_state state)
{
    return state == THREAD_RUNNING     ? "Running"
           : state == THREAD_FINISHING ? "Finishing"
                                       : "Idle";
}

static void
add_thread(struct text_writer *s, const struct status_thread *t)
{
    size_t method = strcspn(t->line, " ");
    const char *uri = t->line + method + (t->line[method] == ' ');

    text_writer_printf(s,
                       "{\"state\":\"%s\",\"requests\":%" PRIu64
                       ",\"request duration\":%" PRId64
                       ",\"waiting\":\"%s\",\"request method\":",
                       state_name(t->state), t->requests, t->duration_us,
                       score_wait_name(t->wait));
    add_string(s, t->line, method);
    text_writer_text(s, ",\"request uri\":");
    add_string(s, uri, strlen(uri));
    text_writer_text(s, "}");
}

static void
add_worker(struct text_writer *s, const struct status_snapshot *shot,
           unsigned i, const struct status_worker *w)
{
    text_writer_printf(
        s,
        "{\"pid\":%d,\"state\":\"%s\",\"generation\":%u,\"gil\":%s"
        ",\"start time\":%" PRId64 ",\"start since\":%" PRId64
        ",\"accepted conn\":%" PRIu64 ",\"requests\":%" PRIu64
        ",\"failed requests\":%" PRIu64,
        w->pid, score_state_name(w->state), w->generation,
        w->gil ? "true" : "false", w->started_at, w->since_s, w->accepted,
        w->requests, w->failed);
    text_writer_printf(
        s,
        ",\"client aborts\":%" PRIu64 ",\"slow requests\":%" PRIu64
        ",\"timed out requests\":%" PRIu64 ",\"queue timeouts\":%" PRIu64
        ",\"active requests\":%u",
        w->client_aborts, w->slow, w->timeouts, w->queue_timeouts, w->busy);
    uint64_t kib = memory_kib_of(w->pid);
    if (kib > 0) {
        text_writer_printf(s, ",\"memory\":%" PRIu64, kib * 1024);
    }
    else {
        text_writer_text(s, ",\"memory\":null");
    }
    text_writer_text(s, ",\"threads\":[");
    for (unsigned k = 0; k < shot->board->nthreads; k++) {
        struct status_thread t;
        status_thread_get(shot, i, k, &t);
        text_writer_text(s, k > 0 ? "," : "");
        add_thread(s, &t);
    }
    text_writer_text(s, "]}");
}

void
status_json(struct text_writer *s, const struct status_snapshot *shot)
{
    const char *separator = "";

    text_writer_text(s, "{\"pool\":");
    add_string(s, shot->pool, strlen(shot->pool));
    text_writer_printf(s,
                       ",\"process manager\":\"%s\",\"gil\":%s"
                       ",\"start time\":%" PRId64 ",\"start since\":%" PRId64,
                       shot->manager, status_has_gil(shot) ? "true" : "false",
                       shot->board->started_at, shot->since_s);
    for (size_t i = 0; i < shot->nfields; i++) {
        const struct status_field *f = &shot->fields[i];
        if (f->is_unknown) {
            text_writer_printf(s, ",\"%s\":null", f->name);
        }
        else {
            text_writer_printf(s, ",\"%s\":%" PRIu64, f->name, f->value);
        }
    }
    if (shot->full) {
        text_writer_text(s, ",\"processes\":[");
        for (unsigned i = 0; i < shot->board->nworkers; i++) {
            struct status_worker w;
            if (status_worker_get(shot, i, &w)) {
                text_writer_text(s, separator);
                add_worker(s, shot, i, &w);
                separator = ",";
            }
        }
        text_writer_text(s, "]");
    }
    text_writer_text(s, "}\n");
}
