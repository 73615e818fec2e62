/*
 * privs.h - becoming another user for good
 *
 * What:      --user and --group. privs_find() looks them up before anything is
 *            opened. privs_drop() changes the groups, the group and the user,
 *            in this order, and checks the result and that there is no way
 *            back.
 * Owner:     the one process or the master, after it has opened what needs root
 *            (sockets, --pid-file), so that workers never have root's rights.
 * Lifetime:  the start of the process.
 * Threads:   before the second one starts.                       GIL: not used.
 * Errors:    a sysexits code after one log line: EX_NOUSER (67), EX_USAGE,
 *            EX_NOPERM (77). After a failed privs_drop() the process must end:
 *            it may have changed only a part.
 * Blocks:    privs_find(): on the name services.
 */
#ifndef PROCESS_PRIVS_H
#define PROCESS_PRIVS_H

#include "base/compiler.h"
#include "conf/config.h"
#include "os/user_lookup.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct privs {
    bool wanted;               /* --user or --group is given */
    bool already;              /* the process has that user and group already */
    const char *who;           /* as on the command line, for the log */
    struct user_entry account; /* of --user */
    uid_t uid;
    gid_t gid;
    gid_t *groups; /* supplementary groups */
    size_t ngroups;
};

/* Looks up --user and --group. */
CHECK_RESULT int privs_find(const struct config *config, struct privs *ret);

/* Also sets HOME, USER and LOGNAME for --user. Frees what privs_find()
 * allocated. */
CHECK_RESULT int privs_drop(struct privs *p);

#endif
