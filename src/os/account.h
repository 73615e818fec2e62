/*
 * account.h - users and groups of this machine, by name or number
 *
 * What:      what --user, --group and --socket-owner name.
 * Threads:   start only: the C library's result is shared.       GIL: not used.
 * Errors:    0 or -ENOENT; logs nothing.
 * Blocks:    on the name services.
 */
#ifndef OS_ACCOUNT_H
#define OS_ACCOUNT_H

#include "base/compiler.h"

#include <limits.h>
#include <sys/types.h>

enum { ACCOUNT_NAME = 256 };

struct account {
    uid_t uid;
    gid_t gid;               /* (gid_t)-1: a number that is no user's */
    char name[ACCOUNT_NAME]; /* ... as are "" and "" */
    char home[PATH_MAX];
};

/* A user's name, or any number. */
CHECK_RESULT int account_user(const char *text, struct account *ret);

/* A group's name, or any number. */
CHECK_RESULT int account_group(const char *text, gid_t *ret);

#endif
