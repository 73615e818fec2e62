/*
 * instance_stop.c - --warm-stop: ends warm instances of this user
 */
#include "instances/instance_stop.h"

#include "base/buf.h"
#include "base/clock.h"
#include "instances/instance_find.h"
#include "os/log.h"
#include "os/path_absolute.h"
#include "os/user_lookup.h"
#include "text/text_writer.h"
#include "warm/warm_sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define OPTION "--warm-stop"

enum {
    LOCK_MS = 1000,
    LOOK_MS = 20, /* between two looks where there is no pidfd */
    TEXT_MAX = 64 << 10
};

/* -- which ones ------------------------------------------------------------ */

/* What SCRIPT may be called on a status page. */
struct wanted {
    const char *word;
    char absolute[PATH_MAX], real[PATH_MAX]; /* "" = it has none */
};

static void
set_wanted(struct wanted *w, const char *word)
{
    w->word = word;
    if (path_absolute_trimmed(word, w->absolute, sizeof w->absolute) < 0) {
        w->absolute[0] = '\0';
    }
    if (realpath(word, w->real) == NULL) {
        w->real[0] = '\0';
    }
}

/* As the page shows it: control characters are "?". */
static bool
is_shown_as(const char *path, const char *shown)
{
    struct buf text;
    struct text_writer out = {.out = &text};

    if (path[0] == '\0') {
        return false;
    }
    buf_init(&text, TEXT_MAX);
    text_writer_safe(&out, path);
    text_writer_add(&out, "", 1);
    bool is_same = out.err == 0 && strcmp(text.data, shown) == 0;
    buf_fini(&text);
    return is_same;
}

/* The script may be gone, and APP may be a module. */
static bool
is_wanted(const struct instance *i, void *arg)
{
    const struct wanted *w = arg;
    const char *script = i->script;
    char real[PATH_MAX];

    if (is_shown_as(w->word, script) || is_shown_as(w->absolute, script) ||
        is_shown_as(w->real, script)) {
        return true;
    }
    return w->real[0] != '\0' && realpath(script, real) != NULL &&
           strcmp(real, w->real) == 0;
}

static int
refuse_none(const char *word)
{
    char user[USER_NAME_SIZE];

    user_local_name(geteuid(), user);
    log_error(OPTION ": %s: no instance of this script runs as %s; wsgi-cgi "
                     "--warm-list prints those that do",
              word, user);
    return EX_UNAVAILABLE;
}

/* -- asking ---------------------------------------------------------------- */

/* False: it cannot be asked. Who has ended or is finishing need not be. */
static bool
ask(const struct instance *i, void *arg UNUSED)
{
    int e = warm_folder_lock(i->folder, clock_ms() + LOCK_MS);

    if (e == 0) {
        e = warm_sweep_stop(i->folder, &i->name);
        warm_folder_unlock(i->folder);
    }
    if (e == 0 || e == -ESRCH || e == -EALREADY) {
        return true;
    }
    log_error(OPTION ": pid %d: %s", (int)i->pid, strerror(-e));
    return false;
}

/* -- waiting --------------------------------------------------------------- */

static bool
has_ended(const struct instance *i, int wait_ms)
{
    struct pollfd p = {.fd = i->process, .events = POLLIN};

    if (i->process >= 0) {
        return poll(&p, 1, wait_ms) > 0;
    }
    if (kill(i->pid, 0) < 0 && errno == ESRCH) {
        return true;
    }
    (void)poll(NULL, 0, wait_ms < LOOK_MS ? wait_ms : LOOK_MS);
    return false;
}

static bool
wait_for(const struct instance *i, int64_t deadline_ms)
{
    for (;;) {
        int64_t left = deadline_ms - clock_ms();
        if (has_ended(i, left <= 0        ? 0
                         : left < INT_MAX ? (int)left
                                          : INT_MAX)) {
            return true;
        }
        if (left <= 0) {
            return false;
        }
    }
}

static bool
wait_for_all(const struct instance_list *l, int64_t timeout_ms)
{
    int64_t deadline = clock_ms() + timeout_ms;
    bool is_done = true;

    for (size_t i = 0; i < l->n; i++) {
        if (wait_for(&l->v[i], deadline)) {
            (void)printf("wsgi-cgi: ended pid %d\n", (int)l->v[i].pid);
        }
        else {
            log_error(OPTION ": pid %d has not ended within %" PRId64
                             " ms; it finishes its requests, or hangs",
                      (int)l->v[i].pid, timeout_ms);
            is_done = false;
        }
    }
    return is_done;
}

/* -- all of it ------------------------------------------------------------- */

static int
stop(struct instance_list *l, const char *word, int64_t timeout_ms)
{
    struct wanted wanted;
    bool all = strcmp(word, "all") == 0;

    if (!all) {
        set_wanted(&wanted, word);
        instance_list_keep(l, is_wanted, &wanted);
    }
    size_t n = l->n;
    if (n == 0 && !all) {
        return refuse_none(word);
    }
    instance_list_keep(l, ask, NULL);
    return wait_for_all(l, timeout_ms) && l->n == n ? EX_OK : EX_UNAVAILABLE;
}

int
instance_stop(const struct config *config)
{
    struct instance_list list;
    int status = instance_find(&list, OPTION, config->client_timeout_ms);

    if (status == 0) {
        status = stop(&list, config->address, config->client_timeout_ms);
    }
    instance_list_fini(&list);
    return status;
}
