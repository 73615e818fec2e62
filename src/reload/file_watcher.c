/*
 * file_watcher.c - watches the files of the application for changes
 */
#include "reload/file_watcher.h"

#include "base/hash.h"
#include "os/log.h"
#include "reload/touch_files.h"

#include <assert.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* At most a few hundred stat() calls for a look, about half a millisecond. If
 * there are more files, they take turns. */
enum {
    LOOK_EVERY_MS = 1000,
    LOOK_RECENT_MS = 250, /* the other half of a deployment is on its way */
    SETTLE_MS = 250,
    SETTLE_MAX_MS = 5000, /* some files never rest */
    OWN_EACH = 300,
    LIBS_EACH = 100,
    RECENT_MS = 10000, /* after a load */
    /* Code that writes one of its own modules whenever it is loaded must not
     * load for ever. */
    IN_ROW_MAX = 8
};

struct watched_file {
    struct watched_file *next; /* in its bucket */
    struct file_id stamp;
    bool is_named; /* it is in that list */
    char path[];
};

/* -- which files ----------------------------------------------------------- */

static bool
is_library(const char *path)
{
    static const char *const marks[] = {"/site-packages/", "/dist-packages/",
                                        "/lib/python3", "/lib64/python3"};

    for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
        if (strstr(path, marks[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static bool
append(struct watched_list *l, struct watched_file *f)
{
    if (l->n == l->cap) {
        size_t cap = l->cap == 0 ? 64 : l->cap * 2;
        /* An array of pointers. NOLINTNEXTLINE(bugprone-sizeof-expression) */
        struct watched_file **v = reallocarray(l->v, cap, sizeof(*v));
        if (v == NULL) {
            return false;
        }
        l->v = v;
        l->cap = cap;
    }
    assert(l->n < l->cap);
    l->v[l->n++] = f;
    return true;
}

static struct watched_file **
bucket_of(struct file_watcher *t, const char *path, size_t n)
{
    return &t->buckets[hash_bytes(path, n) % FILE_WATCHER_BUCKETS];
}

static struct watched_file *
find(struct file_watcher *t, const char *path)
{
    struct watched_file *f = *bucket_of(t, path, strlen(path));

    while (f != NULL && strcmp(f->path, path) != 0) {
        f = f->next;
    }
    return f;
}

/* Adds a file that is not watched yet. */
static void
add_new(struct file_watcher *t, struct watched_list *list, const char *path,
        struct file_id stamp)
{
    size_t n = strlen(path);
    struct watched_file **bucket = bucket_of(t, path, n);
    struct watched_file *f = malloc(sizeof(*f) + n + 1);

    if (f == NULL || !append(list, f)) {
        free(f);
        return;
    }
    memcpy(f->path, path, n + 1);
    f->stamp = stamp;
    f->is_named = list == &t->named;
    f->next = *bucket;
    *bucket = f;
}

static void
add_named(struct file_watcher *t, const char *path)
{
    if (find(t, path) == NULL) {
        add_new(t, &t->named, path, file_id_of_path(path));
    }
}

void
file_watcher_add(struct file_watcher *t, const char *path, struct file_id stamp,
                 bool is_app)
{
    struct watched_file *f = find(t, path);

    if (f == NULL) {
        add_new(t, is_library(path) ? &t->libs : &t->own, path, stamp);
        f = find(t, path);
    }
    if (is_app && f != NULL && !f->is_named && append(&t->named, f)) {
        f->is_named = true; /* it stays in the other list, which owns it */
    }
}

void
file_watcher_init(struct file_watcher *t, const struct config *config,
                  const char *script)
{
    char folder[PATH_MAX], restart[PATH_MAX];

    memset(t, 0, sizeof(*t));
    t->reload = config->reload;
    t->load = FILE_WATCHER_LOADING;
    for (size_t i = 0; i < touch_files_count(); i++) {
        add_named(t, touch_files_get(i));
    }
    if (config->reload == RELOAD_OFF) {
        return;
    }
    assert(script == NULL || script[0] == '/');
    if (script == NULL) {
        if (getcwd(folder, sizeof(folder)) == NULL) {
            return;
        }
    }
    else {
        add_named(t, script);
        (void)snprintf(folder, sizeof(folder), "%s", script);
    }
    int n = snprintf(restart, sizeof(restart), "%s/tmp/restart.txt",
                     script == NULL ? folder : dirname(folder));
    if (n > 0 && (size_t)n < sizeof(restart)) {
        add_named(t, restart);
    }
}

void
file_watcher_fini(struct file_watcher *t)
{
    for (size_t i = 0; i < ARRAY_SIZE(t->buckets); i++) {
        for (struct watched_file *f = t->buckets[i], *next; f != NULL;
             f = next) {
            next = f->next;
            free(f);
        }
    }
    free(t->named.v);
    free(t->own.v);
    free(t->libs.v);
    memset(t, 0, sizeof(*t));
}

/* -- when imported files count --------------------------------------------- */

void
file_watcher_note(struct file_watcher *t, int64_t now_ms,
                  enum file_watcher_load load)
{
    if (t->load == FILE_WATCHER_LOADING && load != FILE_WATCHER_LOADING) {
        t->recent_until_ms = now_ms + RECENT_MS;
    }
    else if (t->load == FILE_WATCHER_LOADED && t->recent_until_ms != 0 &&
             now_ms >= t->recent_until_ms) {
        t->recent_until_ms = 0;
        log_debug("the load is %d s old: a change of imported files %s",
                  RECENT_MS / 1000,
                  t->reload == RELOAD_MODULES ? "still counts"
                                              : "no longer counts");
    }
    t->load = load;
}

static bool
is_recent(const struct file_watcher *t, int64_t now_ms)
{
    return t->load == FILE_WATCHER_LOADING || now_ms < t->recent_until_ms;
}

static bool
imports_count(const struct file_watcher *t, int64_t now_ms)
{
    return t->reload == RELOAD_MODULES ||
           (t->in_row < IN_ROW_MAX &&
            (is_recent(t, now_ms) || t->load == FILE_WATCHER_FAILED));
}

/* -- looking --------------------------------------------------------------- */

/* Looks at the next max files of a list; true if one of them has changed. */
static bool
look(struct file_watcher *t, struct watched_list *l, size_t max)
{
    bool changed = false;

    for (size_t i = 0; i < max && i < l->n; i++) {
        l->at = l->at < l->n ? l->at : 0;
        struct watched_file *f = l->v[l->at++];
        struct file_id now = file_id_of_path(f->path);
        if (file_id_exists(&now) && !file_id_equal(&now, &f->stamp)) {
            f->stamp = now;
            changed = true;
            if (t->changed == NULL || (f->is_named && !t->changed->is_named)) {
                t->changed = f;
            }
        }
    }
    return changed;
}

static const char *
reason(struct file_watcher *t)
{
    assert(t->changed != NULL);
    (void)snprintf(t->why, sizeof(t->why), "touched: %s", t->changed->path);
    t->in_row = t->changed->is_named ? 0 : t->in_row + 1;
    if (t->in_row == IN_ROW_MAX && t->reload != RELOAD_MODULES) {
        log_warning(
            "imported files have changed %d times, one after the other: "
            "they do not count any more until APP is touched, or at "
            "SIGHUP",
            IN_ROW_MAX);
    }
    t->changed = NULL;
    return t->why;
}

const char *
file_watcher_look(struct file_watcher *t, int64_t now_ms)
{
    if (now_ms < t->next_ms) {
        return NULL;
    }
    bool changed = look(t, &t->named, t->named.n);
    if (imports_count(t, now_ms)) {
        /* While files are being written, one after the other, look at all of
         * them. */
        changed |= look(t, &t->own, t->unsettled ? t->own.n : OWN_EACH);
        changed |= look(t, &t->libs, t->unsettled ? t->libs.n : LIBS_EACH);
    }
    if (!t->unsettled) {
        t->unsettled_ms = now_ms;
    }
    bool settled =
        t->unsettled && (!changed || now_ms - t->unsettled_ms >= SETTLE_MAX_MS);
    t->unsettled = changed && !settled;
    t->next_ms = now_ms + (changed                ? SETTLE_MS
                           : is_recent(t, now_ms) ? LOOK_RECENT_MS
                                                  : LOOK_EVERY_MS);
    return settled ? reason(t) : NULL;
}

int
file_watcher_pause(const struct file_watcher *t, int64_t now_ms, int max_ms)
{
    int64_t left = t->next_ms - now_ms;
    /* Before the first look nobody waits for one. */
    bool is_reason =
        t->unsettled ||
        (t->next_ms != 0 && t->reload != RELOAD_OFF && is_recent(t, now_ms));

    return !is_reason || left > max_ms ? max_ms : left < 0 ? 0 : (int)left;
}

void
file_watcher_refresh(struct file_watcher *t, bool is_asked)
{
    (void)look(t, &t->named, t->named.n);
    (void)look(t, &t->own, t->own.n);
    (void)look(t, &t->libs, t->libs.n);
    t->unsettled = false;
    t->changed = NULL;
    t->in_row = is_asked ? 0 : t->in_row;
    t->load = FILE_WATCHER_LOADING;
}

const char *
file_watcher_next_try(const struct file_watcher *t)
{
    return t->reload == RELOAD_OFF
               ? "SIGHUP tries it again"
               : "it is tried again when one of its files changes";
}
