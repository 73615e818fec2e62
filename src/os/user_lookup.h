/*
 * user_lookup.h - finds users and groups by name or number
 *
 * What:      the values of --user, --group and --socket-owner; the name of a
 *            user for the log.
 * Threads:   start only: getpwnam() returns static memory.       GIL: not used.
 * Errors:    0 or -ENOENT; logs nothing.
 * Blocks:    on the name services (NSS); user_local_name() only on a file.
 */
#ifndef OS_USER_LOOKUP_H
#define OS_USER_LOOKUP_H

#include "base/compiler.h"

#include <limits.h>
#include <sys/types.h>

enum { USER_NAME_SIZE = 256 };

struct user_entry {
    uid_t uid;
    gid_t gid;                 /* (gid_t)-1: no user has this number */
    char name[USER_NAME_SIZE]; /* then name and home are "" */
    char home[PATH_MAX];
};

/* text: the name of a user, or any number. */
CHECK_RESULT int user_lookup(const char *text, struct user_entry *ret);

/* text: the name of a group, or any number. */
CHECK_RESULT int group_lookup(const char *text, gid_t *ret);

/* The name that /etc/passwd has for uid, else "uid 1234". */
void user_local_name(uid_t uid, char to[USER_NAME_SIZE]);

#endif
