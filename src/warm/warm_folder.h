/*
 * warm_folder.h - the folder with the sockets of warm instances
 *
 * What:      a folder that only this user can enter: wsgi-cgi in
 *            $XDG_RUNTIME_DIR where that is the user's own, else wsgi-cgi-UID in
 *            $TMPDIR or /tmp. Others can neither create it beforehand nor
 *            replace it: owner and mode are checked on the open descriptor, no
 *            link is followed, and the folder above belongs to root or to this
 *            user and is sticky where others may write to it. For root, nobody
 *            else can replace any folder of its path.
 * Owner:     the caller owns the struct; warm_folder_close() frees nothing else
 *            than its descriptor.
 * Threads:   one.                                                GIL: not used.
 * Errors:    0 or -errno, with a sentence in why; logs nothing.
 * Blocks:    on the file system; warm_folder_lock() until its deadline.
 */
#ifndef WARM_WARM_FOLDER_H
#define WARM_WARM_FOLDER_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WARM_FOLDER_SIZE = 68, /* so that a socket in it has a name that fits */
    WARM_WHY_SIZE = 512
};

struct warm_folder {
    int fd;
    char path[WARM_FOLDER_SIZE];
};

/* Opens the first that can be used, or creates it. */
CHECK_RESULT int warm_folder_open(struct warm_folder *ret,
                                  char why[WARM_WHY_SIZE]);

/* The one that warm_folder_open() would open or create, without creating it: fd
 * is -1 where it does not exist yet. */
CHECK_RESULT int warm_folder_find(struct warm_folder *ret,
                                  char why[WARM_WHY_SIZE]);

/* Opens the one at place i, from 0 on, also those that another environment
 * would lead to (a login has XDG_RUNTIME_DIR, a CGI script may not). -ERANGE:
 * there is no such place. */
CHECK_RESULT int warm_folder_open_nth(struct warm_folder *ret, unsigned i,
                                      char why[WARM_WHY_SIZE]);

void warm_folder_close(struct warm_folder *f);

/* One process at a time starts or ends instances. 0, -ETIMEDOUT (clock_ms()) or
 * -errno. Closing the folder ends it, too. */
CHECK_RESULT int warm_folder_lock(const struct warm_folder *f,
                                  int64_t deadline_ms);
void warm_folder_unlock(const struct warm_folder *f);

#endif
