/*
 * service_log.c - the lines "started: ..." and "stopped: ..." of a service
 */
#include "process/service_log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "config.h"
#include "os/log.h"
#include "os/user_lookup.h"
#include "process/signals.h"
#include "python/gil_state.h"
#include "python/interp.h"
#include "text/signal_name.h"

#include <assert.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    STOP_MS = 100 /* at most, for a reader of the log that is stuck */
};

/* The thread that ends the process may do so while another one starts it. */
static struct {
    pthread_mutex_t lock;
    bool is_started, is_over, was_restarted; /* under lock */
} life = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int
add_sockets(struct buf *b, const struct listener *listeners, size_t n)
{
    int e = buf_add_str(b, n == 1 ? ", socket " : ", sockets ");

    for (size_t i = 0; e == 0 && i < n; i++) {
        e = buf_printf(b, "%s%s", i == 0 ? "" : " ", listeners[i].name);
    }
    return e;
}

/* As on the command line, or from a file: the name services may be slow. */
static int
add_user(struct buf *b, const struct config *c)
{
    char name[USER_NAME_SIZE];

    if (c->user == NULL) {
        user_local_name(geteuid(), name);
    }
    int e = buf_printf(b, ", as %s", c->user != NULL ? c->user : name);
    return e == 0 && c->group != NULL ? buf_printf(b, ":%s", c->group) : e;
}

static int
add_processes(struct buf *b, const struct config *c)
{
    unsigned n = c->processes > 0 ? c->processes : 1;
    int e = config_is_elastic(c) ? buf_printf(b, ", %u-%u", c->processes_min, n)
                                 : buf_printf(b, ", %u", n);

    return e < 0
               ? e
               : buf_printf(b, " process%s x %u thread%s%s", n == 1 ? "" : "es",
                            c->threads, c->threads == 1 ? "" : "s",
                            c->preload ? " (preload)" : "");
}

static int
add_mount(struct buf *b, const struct config *c)
{
    if (c->mount == NULL) {
        return buf_add_str(b, ", no --mount");
    }
    return buf_printf(b, ", mount %s", c->mount[0] == '\0' ? "/" : c->mount);
}

/* What a configuration may have besides. */
static int
add_others(struct buf *b, const struct config *c)
{
    int e = 0;

    if (c->venv != NULL) {
        e = buf_printf(b, ", venv %s", c->venv);
    }
    if (e == 0 && c->control != NULL) {
        e = buf_printf(b, ", control %s", c->control);
    }
    return e;
}

static int
describe(struct buf *b, const struct config *c,
         const struct listener *listeners, size_t n)
{
    /* Without a GIL unless it says so, or the log has had a warning. */
    bool has_gil = gil_state_is_free_threaded() && gil_state_is_on();
    int e = buf_printf(b, "started: wsgi-cgi %s, Python %s%s, %s",
                       WSGI_CGI_VERSION, interp_name(),
                       has_gil ? " (GIL on)" : "", config_application(c));

    if (e == 0) {
        e = add_sockets(b, listeners, n);
    }
    if (e == 0) {
        e = add_user(b, c);
    }
    if (e == 0) {
        e = add_processes(b, c);
    }
    if (e == 0) {
        e = add_mount(b, c);
    }
    if (e == 0) {
        e = add_others(b, c);
    }
    return e == 0 ? buf_add(b, "", 1) : e;
}

static void
log_start(const struct config *config, const struct listener *listeners,
          size_t nlisteners)
{
    struct buf b;

    buf_init(&b, LOG_LINE_MAX);
    if (describe(&b, config, listeners, nlisteners) == 0) {
        log_notice("%s", b.data);
    }
    buf_fini(&b);
}

void
service_log_continue(void)
{
    (void)pthread_mutex_lock(&life.lock);
    life.is_started = life.was_restarted = true;
    (void)pthread_mutex_unlock(&life.lock);
}

void
service_log_started(const struct config *config,
                    const struct listener *listeners, size_t nlisteners)
{
    assert(nlisteners > 0);
    (void)pthread_mutex_lock(&life.lock);
    if (!life.is_over && !life.was_restarted && log_wants(LOG_LEVEL_NOTICE)) {
        log_start(config, listeners, nlisteners);
    }
    life.is_started = true;
    (void)pthread_mutex_unlock(&life.lock);
}

enum { DURATION_SIZE = 48 };

/* "12.345 s", "1:02:03" or "3 d 1:02:03". */
static const char *
duration(int64_t ms, char to[DURATION_SIZE])
{
    int64_t s = ms / 1000, days = s / 86400;
    int n = 0;

    if (s < 60) {
        (void)snprintf(to, DURATION_SIZE, "%d.%03d s", (int)s,
                       (int)(ms % 1000));
        return to;
    }
    if (days > 0) {
        n = snprintf(to, DURATION_SIZE, "%lld d ", (long long)days);
    }
    (void)snprintf(to + n, DURATION_SIZE - (size_t)n, "%d:%02d:%02d",
                   (int)(s / 3600 % 24), (int)(s / 60 % 60), (int)(s % 60));
    return to;
}

static void
log_stop(struct scoreboard *board, const char *why)
{
    char name[SIGNAL_NAME_SIZE], lasted[DURATION_SIZE];
    struct score_totals t;
    int number = signals_get().stop_number;
    const char *sig = why == NULL && number != 0 ? "SIG" : "";

    if (why == NULL) {
        why = number != 0 ? signal_name(number, name) : "an error";
    }
    scoreboard_totals(board, &t);
    log_set_patience(STOP_MS);
    log_notice("stopped: %s%s, after %s and %llu request%s%s", sig, why,
               duration(clock_ms() - board->started_ms, lasted),
               (unsigned long long)t.requests, t.requests == 1 ? "" : "s",
               life.was_restarted ? " since the last reload" : "");
}

void
service_log_stopped(struct scoreboard *board, const char *why)
{
    (void)pthread_mutex_lock(&life.lock);
    if (life.is_started && !life.is_over) {
        log_stop(board, why);
    }
    life.is_over = true;
    (void)pthread_mutex_unlock(&life.lock);
}

void
service_log_root(const struct config *config)
{
    if (geteuid() == 0 && config->user == NULL) {
        log_warning("the application runs as root: add --user NAME, or --user "
                    "root if it has to");
    }
}
