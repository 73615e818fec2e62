/*
 * path_absolute.c - the absolute form of a path
 */
#include "os/path_absolute.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int
path_absolute(const char *path, char *to, size_t size)
{
    char cwd[PATH_MAX] = "";

    while (path[0] == '.' && path[1] == '/') {
        path += 2 + strspn(path + 2, "/");
    }
    if (path[0] == '.' && path[1] == '\0') {
        path = "";
    }
    if (path[0] != '/' && getcwd(cwd, sizeof cwd) == NULL) {
        return -errno;
    }
    size_t n = strlen(cwd);
    bool slash =
        path[0] != '/' && path[0] != '\0' && n > 0 && cwd[n - 1] != '/';
    int len = snprintf(to, size, "%s%s%s", cwd, slash ? "/" : "", path);
    return len < 0 || (size_t)len >= size ? -ENAMETOOLONG : 0;
}

int
path_absolute_trimmed(const char *path, char *to, size_t size)
{
    int e = path_absolute(path, to, size);

    if (e < 0) {
        return e;
    }
    size_t len = strlen(to);
    assert(len > 0);
    while (len > 1 && to[len - 1] == '/') {
        to[--len] = '\0';
    }
    return 0;
}
