/*
 * privs.h - becoming another user, for good
 *
 * What:      --user and --group: who that is, found before anything is opened; then
 *            groups, group and user are changed, in this order, and it is checked
 *            that they are and that the way back is closed.
 * Owner:     main(). In the one process and in the master, so that workers are
 *            born without rights: what needs them (sockets, --pid-file) is open.
 * Threads:   before the second one starts.                       GIL: not used.
 * Errors:    a sysexits code after one log line: EX_NOUSER (67), EX_USAGE,
 *            EX_NOPERM (77). After a failed privs_drop() the process must end: it
 *            may be anybody.
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
    bool wanted;     /* --user or --group is given */
    bool already;    /* we are that user and group: nothing to change */
    const char *who; /* as the command line has it, for the log */
    struct user_entry account; /* of --user */
    uid_t uid;
    gid_t gid;
    gid_t *groups; /* supplementary */
    size_t ngroups;
};

CHECK_RESULT int privs_find(const struct config *config, struct privs *ret);

/* Also sets HOME, USER and LOGNAME to those of --user. Frees what privs_find()
 * allocated. */
CHECK_RESULT int privs_drop(struct privs *p);

#endif
