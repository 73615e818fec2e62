/*
 * safe_path.h - where a file stands: its folder, open, and its name there
 *
 * What:      root opens a file in a folder that is somebody else's: who may put a
 *            symbolic link there, or a second name of another file, must not
 *            choose what root writes to. Links are followed where only root could
 *            have made them; in a shared sticky folder as /tmp, what a stranger
 *            has put there before is not taken for one's own. For everybody else
 *            this is open(). A second name that comes and goes in that very
 *            moment is the kernel's to forbid (fs.protected_hardlinks, 1 on most
 *            systems): no look is exact.
 * Owner:     the caller's struct; safe_path_close() after a failure is not needed.
 * Threads:   any.                                                GIL: not used.
 * Errors:    0 or -errno, for safe_path_strerror().    Blocks: on the file system.
 */
#ifndef OS_SAFE_PATH_H
#define OS_SAFE_PATH_H

#include "base/compiler.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

struct safe_path {
    int folder_fd; /* AT_FDCWD: name is the whole path */
    char name[PATH_MAX];
    int nofollow;    /* O_NOFOLLOW, or 0 */
    bool is_exposed; /* others than root may have put there what is there */
    bool is_folder_exposed; /* or the folder itself, or one on the way */
    bool is_sticky;         /* it, or a folder on the way, is in one as /tmp */
    bool is_linked;         /* the path's own last name is a link to here */
    bool is_descriptor;     /* as /dev/stdout: of a process, and of a moment */
    uid_t owners[4];        /* whose files are as good as root's there */
};

/* user: who may own the file besides root, as he is to have it anyway. A relative
 * path begins where we are. */
CHECK_RESULT int safe_path_find(struct safe_path *ret, const char *path,
                                uid_t user);

/* open() there: a descriptor or -errno. -EXDEV: a link that somebody else may have
 * made. -EMLINK: a file that has another name as well, likewise. -EUSERS: a file or
 * FIFO of a stranger, in a folder where the first to come has the name. */
CHECK_RESULT int safe_path_open(const struct safe_path *p, int flags,
                                mode_t mode);

void safe_path_close(struct safe_path *p);

/* chdir() that follows no link that others than root may have made. 0 or -errno. */
CHECK_RESULT int safe_path_enter(const char *path);

/* strerror() that knows what the three mean here. */
const char *safe_path_strerror(int err);

#endif
