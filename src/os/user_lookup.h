/*
 * user_lookup.h - users and groups of this machine, by name or number
 *
 * What:      what --user, --group and --socket-owner name.
 * Threads:   start only: the C library's result is shared.       GIL: not used.
 * Errors:    0 or -ENOENT; logs nothing.
 * Blocks:    on the name services.
 */
#ifndef OS_USER_LOOKUP_H
#define OS_USER_LOOKUP_H

#include "base/compiler.h"

#include <limits.h>
#include <sys/types.h>

enum { USER_NAME_SIZE = 256 };

struct user_entry {
    uid_t uid;
    gid_t gid;                 /* (gid_t)-1: a number that is no user's */
    char name[USER_NAME_SIZE]; /* ... as are "" and "" */
    char home[PATH_MAX];
};

/* A user's name, or any number. */
CHECK_RESULT int user_lookup(const char *text, struct user_entry *ret);

/* A group's name, or any number. */
CHECK_RESULT int group_lookup(const char *text, gid_t *ret);

#endif
