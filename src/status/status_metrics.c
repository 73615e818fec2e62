/* status_metrics.c - the status page in the OpenMetrics text format, 1.0 With
 * &full, a series belongs to a slot for a process and not to a pid, so that the
 * number of series stays the same. */
#include "config.h"
#include "os/memory.h"
#include "status/status_snapshot.h"
#include "text/utf8.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static void
add_head(struct text_writer *s, const char *name, const char *type,
         const char *help)
{
    text_writer_printf(s, "# TYPE wsgi_cgi_%s %s\n# HELP wsgi_cgi_%s %s\n",
                       name, type, name, help);
}

/* The value of a label: escaped, valid UTF-8. */
static void
add_label(struct text_writer *s, const char *text)
{
    size_t n = strlen(text);

    for (size_t i = 0; i < n;) {
        size_t len = utf8_char(text + i, n - i);
        if (len == 0) {
            text_writer_text(s, "\xef\xbf\xbd"); /* U+FFFD */
            len = 1;
        }
        else if (text[i] == '\n') {
            text_writer_text(s, "\\n");
        }
        else {
            if (text[i] == '"' || text[i] == '\\') {
                text_writer_text(s, "\\");
            }
            text_writer_add(s, text + i, len);
        }
        i += len;
    }
}

/* The lines of a metric must be together: so all slots of one field, not all
 * fields of one slot. */
enum slot_field { SLOT_BUSY, SLOT_REQUESTS, SLOT_START, SLOT_MEMORY, SLOT_MAX };

static const struct {
    const char *name, *type, *suffix, *unit, *help;
} slot_fields[SLOT_MAX] = {
    [SLOT_BUSY] = {"process_active_requests", "gauge", "", NULL,
                   "Requests running in a process."},
    [SLOT_REQUESTS] = {"process_requests", "counter", "_total", NULL,
                       "Requests answered by the process in this slot."},
    [SLOT_START] = {"process_start_time_seconds", "gauge", "", "seconds",
                    "Start of the process in this slot."},
    [SLOT_MEMORY] = {"process_resident_memory_bytes", "gauge", "", "bytes",
                     "Resident memory, with shared pages."},
};

static uint64_t
slot_value(const struct status_worker *w, enum slot_field f)
{
    switch (f) {
    case SLOT_BUSY:
        return w->busy;
    case SLOT_REQUESTS:
        return w->requests;
    case SLOT_START:
        return (uint64_t)w->started_at;
    case SLOT_MEMORY:
        return memory_kib_of(w->pid) * 1024;
    case SLOT_MAX:
        break;
    }
    return 0;
}

static void
add_slots(struct text_writer *s, const struct status_snapshot *shot,
          enum slot_field f)
{
    assert(f < SLOT_MAX);
    add_head(s, slot_fields[f].name, slot_fields[f].type, slot_fields[f].help);
    if (slot_fields[f].unit != NULL) {
        text_writer_printf(s, "# UNIT wsgi_cgi_%s %s\n", slot_fields[f].name,
                           slot_fields[f].unit);
    }
    for (unsigned i = 0; i < shot->board->nworkers; i++) {
        struct status_worker w;
        if (!status_worker_get(shot, i, &w)) {
            continue;
        }
        uint64_t value = slot_value(&w, f);
        if (f == SLOT_MEMORY && value == 0) {
            continue; /* it has ended */
        }
        text_writer_printf(s, "wsgi_cgi_%s%s{slot=\"%u\"} %" PRIu64 "\n",
                           slot_fields[f].name, slot_fields[f].suffix, i,
                           value);
    }
}

void
status_metrics(struct text_writer *s, const struct status_snapshot *shot)
{
    add_head(s, "build", "info", "Version and application.");
    text_writer_text(s, "wsgi_cgi_build_info{version=\"" WSGI_CGI_VERSION
                        "\",pool=\"");
    add_label(s, shot->pool);
    text_writer_text(s, "\"} 1\n");
    add_head(s, "start_time_seconds", "gauge", "Start of the program.");
    text_writer_printf(s,
                       "# UNIT wsgi_cgi_start_time_seconds seconds\n"
                       "wsgi_cgi_start_time_seconds %" PRId64 "\n",
                       shot->board->started_at);
    if (shot->board->python != NULL) {
        add_head(s, "gil_processes", "gauge",
                 "Processes whose threads take turns in Python.");
        text_writer_printf(s, "wsgi_cgi_gil_processes %u\n", shot->with_gil);
    }
    for (size_t i = 0; i < shot->nfields; i++) {
        const struct status_field *f = &shot->fields[i];
        if (f->is_unknown) {
            continue;
        }
        add_head(s, f->metric, f->is_counter ? "counter" : "gauge", f->help);
        text_writer_printf(s, "wsgi_cgi_%s%s %" PRIu64 "\n", f->metric,
                           f->is_counter ? "_total" : "", f->value);
    }
    for (unsigned f = 0; shot->full && f < SLOT_MAX; f++) {
        add_slots(s, shot, (enum slot_field)f);
    }
    text_writer_text(s, "# EOF\n");
}
