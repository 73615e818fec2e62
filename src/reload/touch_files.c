/*
 * touch_files.c - the files of --touch-reload
 */
#include "reload/touch_files.h"

#include "os/log.h"
#include "os/path_absolute.h"

#include <assert.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

/* Written by touch_files_prepare(). */
static char **files;
static size_t nfiles;

static int
check_folder(const char *path)
{
    char folder[PATH_MAX];
    struct stat st;

    (void)snprintf(folder, sizeof folder, "%s", path);
    if (stat(path, &st) == 0 ||
        (errno == ENOENT && stat(dirname(folder), &st) == 0)) {
        return 0;
    }
    return -errno;
}

static int
prepare(const char *file)
{
    char path[PATH_MAX];
    int e = path_absolute(file, path, sizeof path);

    e = e == 0 ? check_folder(path) : e;
    if (e < 0) {
        log_error(
            "--touch-reload: %s: %s: expected a file, which may be missing, "
            "in a directory that this user can search",
            file, strerror(-e));
        return EX_NOINPUT;
    }
    files[nfiles] = strdup(path);
    if (files[nfiles] == NULL) {
        log_error("out of memory");
        return EX_OSERR;
    }
    nfiles++;
    return 0;
}

int
touch_files_prepare(const struct config *config)
{
    int status = 0;

    assert(files == NULL); /* once */
    files = calloc(config->touch_reload.n + 1, sizeof *files);
    if (files == NULL) {
        log_error("out of memory");
        return EX_OSERR;
    }
    for (size_t i = 0; status == 0 && i < config->touch_reload.n; i++) {
        status = prepare(config->touch_reload.v[i]);
    }
    return status;
}

size_t
touch_files_count(void)
{
    return nfiles;
}

const char *
touch_files_get(size_t i)
{
    assert(i < nfiles);
    return files[i];
}
