#include "proc/touched.h"

#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOK_EVERY_MS = 1000 };

static bool
stamp_of(const char *path, struct touched_stamp *ret)
{
    struct stat st;

    memset(ret, 0, sizeof *ret);
    if (path[0] == '\0' || stat(path, &st) < 0) {
        return false;
    }
    ret->inode = st.st_ino;
    ret->size = st.st_size;
    ret->mtime_ns =
        (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    return true;
}

void
touched_init(struct touched *t, const struct config *config, const char *script)
{
    static const char name[] = "/tmp/restart.txt";
    char folder[PATH_MAX] = "";

    memset(t, 0, sizeof *t);
    if (config->reload == RELOAD_OFF) {
        return;
    }
    if (script == NULL) {
        if (getcwd(folder, sizeof folder) == NULL) {
            return;
        }
    }
    else if (strlen(script) < sizeof folder) {
        memcpy(t->path[0], script, strlen(script) + 1);
        memcpy(folder, script, strlen(script) + 1);
        char *dir = dirname(folder);
        memmove(folder, dir, strlen(dir) + 1);
    }
    if (strlen(folder) + sizeof name <= sizeof t->path[1]) {
        memcpy(t->path[1], folder, strlen(folder));
        memcpy(t->path[1] + strlen(folder), name, sizeof name);
    }
    for (int i = 0; i < TOUCHED_FILES; i++) {
        (void)stamp_of(t->path[i], &t->stamp[i]);
    }
}

bool
touched_look(struct touched *t, int64_t now_ms)
{
    bool touched = false;

    if (now_ms < t->next_ms) {
        return false;
    }
    t->next_ms = now_ms + LOOK_EVERY_MS;
    for (int i = 0; i < TOUCHED_FILES; i++) {
        struct touched_stamp now;
        if (stamp_of(t->path[i], &now) &&
            memcmp(&now, &t->stamp[i], sizeof now) != 0) {
            t->stamp[i] = now;
            touched = true;
        }
    }
    return touched;
}
