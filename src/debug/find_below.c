/*
 * find_below.c - a file that is one folder further down than it was looked for
 */
#include "debug/find_below.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAMES_MAX = 1000 }; /* a folder may be of any size */

static bool
has_file(int dir, const char *name, const char *path)
{
    char below[PATH_MAX];
    struct stat st;
    int n = snprintf(below, sizeof below, "%s/%s", name, path);

    return n > 0 && (size_t)n < sizeof below &&
           fstatat(dir, below, &st, 0) == 0 && S_ISREG(st.st_mode);
}

bool
find_below(const char *folder, const char *path, char *ret_name, size_t size)
{
    DIR *dir = opendir(folder);
    const struct dirent *e;
    bool found = false;

    assert(path[0] != '/' && size > 0);
    if (dir == NULL) {
        return false;
    }
    for (int i = 0; i < NAMES_MAX && (e = readdir(dir)) != NULL; i++) {
        bool may_be = e->d_name[0] != '.' &&
                      (e->d_type == DT_DIR || e->d_type == DT_LNK ||
                       e->d_type == DT_UNKNOWN);
        if (may_be && strlen(e->d_name) < size &&
            (!found || strcmp(e->d_name, ret_name) < 0) &&
            has_file(dirfd(dir), e->d_name, path)) {
            memcpy(ret_name, e->d_name, strlen(e->d_name) + 1);
            found = true;
        }
    }
    (void)closedir(dir);
    return found;
}

/* A file that is no folder has nothing below. */
static bool
has_usual(const char *folder, char *ret, size_t size)
{
    int n = snprintf(ret, size, "%s/wsgi.py", folder);

    return n > 0 && (size_t)n < size && access(ret, F_OK) == 0;
}

bool
find_below_path(const char *path, const char *full, char *ret, size_t size)
{
    char folder[PATH_MAX], name[NAME_MAX + 1];
    size_t n = strlen(full), end = strlen(path);

    assert(full[0] == '/');
    if (has_usual(full, ret, size)) {
        return true;
    }
    if (end >= n || full[n - end - 1] != '/' ||
        strcmp(full + n - end, path) != 0) {
        end = strlen(strrchr(full, '/') + 1);
    }
    size_t start = n - end;
    if (end == 0 || start >= sizeof folder) {
        return false;
    }
    memcpy(folder, full, start);
    folder[start] = '\0';
    if (!find_below(folder, full + start, name, sizeof name)) {
        return false;
    }
    int len = snprintf(ret, size, "%s%s/%s", folder, name, full + start);
    return len > 0 && (size_t)len < size;
}
