/*
 * file_watcher.c - watches the files of the application for changes
 */
#include "reload/file_watcher.h"

#include "base/hash.h"

#include <assert.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* At most a few hundred stat() calls a second, about half a millisecond. If
 * there are more files, they take turns. */
enum { LOOK_EVERY_MS = 1000, SETTLE_MS = 250, OWN_EACH = 300, LIBS_EACH = 100 };

struct watched_file {
    struct watched_file *next; /* in its bucket */
    struct file_id stamp;
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

void
file_watcher_add(struct file_watcher *t, const char *path, struct file_id stamp)
{
    size_t n = strlen(path);
    struct watched_file **bucket =
        &t->buckets[hash_bytes(path, n) % FILE_WATCHER_BUCKETS];

    for (struct watched_file *f = *bucket; f != NULL; f = f->next) {
        if (strcmp(f->path, path) == 0) {
            return;
        }
    }
    struct watched_file *f = malloc(sizeof(*f) + n + 1);
    if (f == NULL || !append(is_library(path) ? &t->libs : &t->own, f)) {
        free(f);
        return;
    }
    memcpy(f->path, path, n + 1);
    f->stamp = stamp;
    f->next = *bucket;
    *bucket = f;
}

void
file_watcher_init(struct file_watcher *t, const struct config *config,
                  const char *script)
{
    char folder[PATH_MAX], restart[PATH_MAX];

    memset(t, 0, sizeof(*t));
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
        file_watcher_add(t, script, file_id_of_path(script));
        (void)snprintf(folder, sizeof(folder), "%s", script);
    }
    int n = snprintf(restart, sizeof(restart), "%s/tmp/restart.txt",
                     script == NULL ? folder : dirname(folder));
    if (n > 0 && (size_t)n < sizeof(restart)) {
        file_watcher_add(t, restart, file_id_of_path(restart));
    }
}

static void
free_list(struct watched_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->v[i]);
    }
    free(l->v);
}

void
file_watcher_fini(struct file_watcher *t)
{
    free_list(&t->own);
    free_list(&t->libs);
    memset(t, 0, sizeof(*t));
}

/* -- looking --------------------------------------------------------------- */

/* True if one of the next max files has changed. */
static bool
look(struct watched_list *l, size_t max)
{
    bool changed = false;

    for (size_t i = 0; i < max && i < l->n; i++) {
        l->at = l->at < l->n ? l->at : 0;
        struct watched_file *f = l->v[l->at++];
        struct file_id now = file_id_of_path(f->path);
        if (file_id_exists(&now) && !file_id_equal(&now, &f->stamp)) {
            f->stamp = now;
            changed = true;
        }
    }
    return changed;
}

bool
file_watcher_look(struct file_watcher *t, int64_t now_ms)
{
    if (now_ms < t->next_ms) {
        return false;
    }
    /* While files are being written, one after the other, look at all of
     * them. */
    bool changed = look(&t->own, t->unsettled ? t->own.n : OWN_EACH);
    changed |= look(&t->libs, t->unsettled ? t->libs.n : LIBS_EACH);
    bool settled = t->unsettled && !changed;
    t->unsettled = changed;
    t->next_ms = now_ms + (changed ? SETTLE_MS : LOOK_EVERY_MS);
    return settled;
}

int
file_watcher_pause(const struct file_watcher *t, int64_t now_ms, int max_ms)
{
    int64_t left = t->next_ms - now_ms;

    /* Only an unsettled change is a reason to wake up. */
    return !t->unsettled || left > max_ms ? max_ms : left < 0 ? 0 : (int)left;
}

void
file_watcher_refresh(struct file_watcher *t)
{
    (void)look(&t->own, t->own.n);
    (void)look(&t->libs, t->libs.n);
    t->unsettled = false;
}
