/* status_html.c - the status page for people The state in words is at the top,
 * then come the numbers. With &full follow the processes and their threads, the
 * longest request first. */
#include "config.h"
#include "os/memory.h"
#include "status/status_snapshot.h"
#include "text/html.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REFRESH_S = 5, ROWS_MAX = 300 };

/* -- writing --------------------------------------------------------------- */

/* With commas between groups of three digits, where lines may break. */
static void
add_number(struct text_writer *s, uint64_t value)
{
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%" PRIu64, value);

    assert(n > 0 && n < (int)sizeof digits);
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) {
            text_writer_text(s, ",<wbr>");
        }
        text_writer_add(s, digits + i, 1);
    }
}

static void
add_duration(struct text_writer *s, int64_t us)
{
    int64_t seconds = us / 1000000;

    if (us < 10000) {
        text_writer_text(s,
                         "&lt;&nbsp;10&nbsp;ms"); /* as precise as the clock */
    }
    else if (seconds < 1) {
        text_writer_printf(s, "%" PRId64 "&nbsp;ms", us / 1000);
    }
    else if (seconds < 60) {
        text_writer_printf(s, "%" PRId64 ".%" PRId64 "&nbsp;s", seconds,
                           us / 100000 % 10);
    }
    else if (seconds < 3600) {
        text_writer_printf(s, "%" PRId64 "&nbsp;min&nbsp;%" PRId64 "&nbsp;s",
                           seconds / 60, seconds % 60);
    }
    else if (seconds < 86400) {
        text_writer_printf(s, "%" PRId64 "&nbsp;h&nbsp;%" PRId64 "&nbsp;min",
                           seconds / 3600, seconds / 60 % 60);
    }
    else {
        text_writer_printf(s, "%" PRId64 "&nbsp;d&nbsp;%" PRId64 "&nbsp;h",
                           seconds / 86400, seconds / 3600 % 24);
    }
}

static void
add_since(struct text_writer *s, int64_t seconds)
{
    if (seconds < 60) {
        text_writer_printf(s, "%" PRId64 "&nbsp;s", seconds);
    }
    else {
        add_duration(s, seconds * 1000000);
    }
}

static void
add_memory(struct text_writer *s, uint64_t kib)
{
    if (kib == 0) {
        text_writer_text(s, "&ndash;");
    }
    else {
        text_writer_printf(s, "%" PRIu64 ".%" PRIu64 "&nbsp;MiB", kib / 1024,
                           kib % 1024 * 10 / 1024);
    }
}

/* -- what is going on ------------------------------------------------------ */

static void
add_verdict(struct text_writer *s, const struct status_snapshot *shot)
{
    const struct score_totals *t = &shot->totals;
    const char *class = "good", *text = "Serving";

    if (t->broken > 0 && t->ready == 0) {
        class = "bad";
        text = "The application does not load";
    }
    else if (t->ready == 0) {
        class = t->starting > 0 ? "warn" : "bad";
        text = t->starting > 0 ? "Starting" : "No process serves";
    }
    else if (t->broken > 0) {
        class = "warn";
        text = "Serving, but new processes cannot load the application";
    }
    else if (t->active >= t->threads) {
        /* The thread that answers this request does not count. */
        bool is_alone = t->active <= shot->own;
        class = is_alone ? "good" : "warn";
        text = is_alone         ? "Serving"
               : shot->own == 0 ? "Serving, all threads are busy"
                                : "Serving, all other threads are busy";
    }
    text_writer_printf(s, "<h1 class=%s>%s</h1>", class, text);
}

static void
add_header(struct text_writer *s, const struct status_snapshot *shot)
{
    char now[64] = "";
    time_t seconds = time(NULL);
    struct tm tm;

    if (localtime_r(&seconds, &tm) != NULL) {
        (void)strftime(now, sizeof now, "%H:%M:%S %Z", &tm);
    }
    html_begin(s, REFRESH_S);
    html_line(s, shot->pool);
    text_writer_text(s, " &middot; status");
    html_begin_body(s, "status");
    text_writer_text(s, "<header><p class=pool>");
    html_line(s, shot->pool);
    text_writer_text(s, "</p>");
    add_verdict(s, shot);
    text_writer_text(s, "<p class=about>for ");
    add_since(s, shot->since_s);
    text_writer_text(s, " &middot; at ");
    html_line(s, now);
    text_writer_printf(s, ", updated every %d&nbsp;s</p></header>\n<main>",
                       REFRESH_S);
}

/* -- the numbers ----------------------------------------------------------- */

static void
add_tile(struct text_writer *s, const char *name, uint64_t value,
         const char *class)
{
    text_writer_printf(s, "<div><dt>%s</dt><dd%s%s>", name,
                       class[0] != '\0' && value > 0 ? " class=" : "",
                       value > 0 ? class : "");
    add_number(s, value);
    text_writer_text(s, "</dd></div>");
}

/* How many there are; with --processes MIN-MAX, of how many, and whether they
 * have been too few. */
static void
add_processes(struct text_writer *s, const struct status_snapshot *shot)
{
    struct scoreboard *b = shot->board;

    text_writer_printf(s, "<div><dt>Processes</dt><dd>%u <small>",
                       shot->totals.workers);
    if (config_is_elastic(shot->config)) {
        text_writer_printf(s, "of %u-%u, ", atomic_load(&b->min_workers),
                           atomic_load(&b->max_workers));
    }
    text_writer_printf(s, "%u ready, %u idle</small></dd></div>",
                       shot->totals.ready, shot->idle_workers);
    if (config_is_elastic(shot->config)) {
        text_writer_printf(s,
                           "<div><dt>MAX processes too few</dt><dd>%u&times; "
                           "<small>%lld&nbsp;s</small></dd></div>",
                           atomic_load(&b->max_reached),
                           (long long)shot->max_reached_ms / 1000);
    }
}

static void
add_tiles(struct text_writer *s, const struct status_snapshot *shot)
{
    const struct score_totals *t = &shot->totals;
    struct scoreboard *b = shot->board;

    unsigned percent =
        t->threads > 0 ? (unsigned)(100ull * t->active / t->threads) : 0;

    text_writer_printf(s,
                       "<dl><div><dt>Busy threads</dt><dd>%u <small>of "
                       "%u</small><span class=bar><i style=\"width:%u%%\"></i>"
                       "</span></dd></div>",
                       t->active, t->threads, percent < 100 ? percent : 100);
    text_writer_printf(s,
                       "<div><dt>Most at a time</dt><dd>%u <small>all busy "
                       "%u&times;</small></dd></div>",
                       t->max_active, atomic_load(&b->all_busy));
    add_processes(s, shot);
    add_tile(s, "Requests", t->requests, "");
    add_tile(s, "Connections", t->accepted, "");
    if (shot->queue.is_known) {
        text_writer_printf(
            s,
            "<div><dt>Listen queue</dt><dd%s>%u <small>at most "
            "%u, of %u</small></dd></div>",
            shot->queue.waiting > 0 ? " class=warn" : "", shot->queue.waiting,
            atomic_load(&b->max_listen_queue), shot->queue.length);
    }
    add_tile(s, "Failed requests", t->failed, "bad");
    add_tile(s, "Client aborts", t->client_aborts, "");
    if (shot->config->slow_ms > 0) {
        add_tile(s, "Slow requests", t->slow, "warn");
    }
    if (shot->config->request_timeout_ms > 0) {
        add_tile(s, "Timed out requests", t->timeouts, "bad");
    }
    if (shot->config->queue_timeout_ms > 0) {
        add_tile(s, "Queue timeouts", t->queue_timeouts, "bad");
    }
    add_tile(s, "Process deaths", atomic_load(&b->deaths), "bad");
    add_tile(s, "Reloads", atomic_load(&b->reloads), "");
    if (shot->board->python != NULL) {
        char gil[STATUS_GIL_SIZE];
        text_writer_printf(s,
                           "<div><dt>Python</dt><dd%s>%s <small>%s</small>"
                           "</dd></div>",
                           status_has_gil(shot) ? " class=warn" : "",
                           shot->board->python, status_gil_text(shot, gil));
    }
    text_writer_text(s, "</dl>\n");
}

/* -- processes and threads ------------------------------------------------- */

static const char *
state_class(enum score_state state)
{
    return state == SCORE_BROKEN                            ? " class=bad"
           : state == SCORE_READY || state == SCORE_RECYCLE ? ""
                                                            : " class=warn";
}

static void
add_worker(struct text_writer *s, const struct status_snapshot *shot,
           const struct status_worker *w)
{
    text_writer_printf(s,
                       "<tr><td data-th=Process>%d<td data-th=State%s>%s"
                       "<td class=n data-th=Busy>%u of %u"
                       "<td class=n data-th=\"Runs for\">",
                       w->pid, state_class(w->state),
                       score_state_name(w->state), w->busy,
                       shot->board->nthreads);
    add_since(s, w->since_s);
    text_writer_text(s, "<td class=n data-th=Requests>");
    add_number(s, w->requests);
    text_writer_text(s, "<td class=n data-th=Failed>");
    add_number(s, w->failed);
    text_writer_text(s, "<td class=n data-th=Memory>");
    add_memory(s, memory_kib_of(w->pid));
    text_writer_printf(s, "<td class=n data-th=Generation>%u</tr>\n",
                       w->generation);
}

static void
add_workers(struct text_writer *s, const struct status_snapshot *shot)
{
    text_writer_text(
        s, "<h2>Processes</h2><table><thead><tr><th>Process<th>State"
           "<th class=n>Busy<th class=n>Runs for<th class=n>Requests"
           "<th class=n>Failed<th class=n>Memory<th class=n>Generation"
           "</tr></thead><tbody>\n");
    for (unsigned i = 0; i < shot->board->nworkers; i++) {
        struct status_worker w;
        if (status_worker_get(shot, i, &w)) {
            add_worker(s, shot, &w);
        }
    }
    text_writer_text(s, "</tbody></table>\n");
}

struct row {
    int pid;
    unsigned thread;
    struct status_thread t;
};

/* How long the thread has been busy. The last request of an idle thread does
 * not count. */
static int64_t
busy_time(const struct status_thread *t)
{
    return t->state == THREAD_RUNNING     ? t->duration_us
           : t->state == THREAD_FINISHING ? t->after_us
                                          : 0;
}

/* Busy threads come first, the one that has been busy longest at the top. */
static int
by_age(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    bool is_busy = x->t.state != THREAD_IDLE;

    if (is_busy != (y->t.state != THREAD_IDLE)) {
        return is_busy ? -1 : 1;
    }
    if (busy_time(&x->t) != busy_time(&y->t)) {
        return busy_time(&x->t) > busy_time(&y->t) ? -1 : 1;
    }
    if (x->pid != y->pid) {
        return x->pid < y->pid ? -1 : 1;
    }
    return x->thread < y->thread ? -1 : 1;
}

static void
add_row(struct text_writer *s, const struct row *r)
{
    text_writer_printf(s, "<tr%s><td data-th=Thread>%d.%u<td data-th=State>%s",
                       r->t.state == THREAD_IDLE ? " class=idle" : "", r->pid,
                       r->thread,
                       r->t.state == THREAD_RUNNING     ? "running"
                       : r->t.state == THREAD_FINISHING ? "after response"
                                                        : "idle, last");
    if (r->t.wait != WAIT_NOT) {
        text_writer_printf(s, " (%s)", score_wait_name(r->t.wait));
    }
    text_writer_text(s, "<td class=n data-th=Duration>");
    add_duration(s, r->t.state == THREAD_FINISHING ? r->t.after_us
                                                   : r->t.duration_us);
    text_writer_text(s, "<td class=line data-th=Request><code>");
    html_line(s, r->t.line);
    text_writer_text(s, "</code></tr>\n");
}

/* Threads that have had a request; *ret_running of them have one now. */
static size_t
collect_rows(const struct status_snapshot *shot, struct row *rows, size_t max,
             size_t *ret_running)
{
    size_t n = 0;

    *ret_running = 0;
    for (unsigned i = 0; i < shot->board->nworkers; i++) {
        struct status_worker w;
        if (!status_worker_get(shot, i, &w)) {
            continue;
        }
        for (unsigned k = 0; k < shot->board->nthreads && n < max; k++) {
            struct row *r = &rows[n];
            *r = (struct row){.pid = w.pid, .thread = k + 1};
            status_thread_get(shot, i, k, &r->t);
            if (r->t.state != THREAD_IDLE || r->t.line[0] != '\0') {
                *ret_running += r->t.state == THREAD_RUNNING;
                n++;
            }
        }
    }
    return n;
}

static void
add_threads(struct text_writer *s, const struct status_snapshot *shot)
{
    size_t max = (size_t)shot->board->nworkers * shot->board->nthreads;
    struct row *rows = calloc(max + 1, sizeof *rows);
    size_t running;

    if (rows == NULL) {
        return;
    }
    size_t n = collect_rows(shot, rows, max, &running);
    assert(n <= max && running <= n);
    qsort(rows, n, sizeof *rows, by_age);
    text_writer_printf(s, "<h2>Requests <small>%zu running</small></h2>",
                       running);
    if (n == 0) {
        text_writer_text(s, "<p class=about>None so far.</p>\n");
    }
    else {
        text_writer_text(s,
                         "<table><thead><tr><th>Thread<th>State<th "
                         "class=n>Duration<th>Request</tr></thead><tbody>\n");
        for (size_t i = 0; i < n && i < ROWS_MAX; i++) {
            add_row(s, &rows[i]);
        }
        text_writer_text(s, "</tbody></table>\n");
    }
    if (n > ROWS_MAX) {
        text_writer_printf(s,
                           "<p class=about>and %zu more threads; "
                           "<a href=\"?json&amp;full\">JSON</a> has all.</p>\n",
                           n - ROWS_MAX);
    }
    free(rows);
}

void
status_html(struct text_writer *s, const struct status_snapshot *shot)
{
    add_header(s, shot);
    add_tiles(s, shot);
    if (shot->full) {
        add_workers(s, shot);
        add_threads(s, shot);
    }
    text_writer_text(s, "</main>\n<footer><nav>");
    text_writer_text(s, shot->full
                            ? "<a href=\"?html\">Numbers only</a>"
                            : "<a href=\"?full\">Processes and requests</a>");
    text_writer_printf(
        s,
        "<a href=\"?text%s\">Text</a><a href=\"?json%s\">JSON</a>"
        "<a href=\"?openmetrics%s\">OpenMetrics</a></nav>"
        "wsgi-cgi " WSGI_CGI_VERSION "</footer></body></html>\n",
        shot->full ? "&amp;full" : "", shot->full ? "&amp;full" : "",
        shot->full ? "&amp;full" : "");
}
