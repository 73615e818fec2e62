/*
 * log_file.h - a log file, which may be rotated
 *
 * What:      opens the file, and opens it again after a rotation has renamed
 *            it. The new file replaces the old one on the same descriptor, so
 *            other threads go on writing and lose nothing.
 * Owner:     the caller owns the struct. log_file_fini() frees it, even after a
 *            failure.
 * Threads:   one at a time; other threads may write to fd.       GIL: not used.
 * Errors:    0 or -errno, for safe_path_strerror(); logs nothing.
 * Blocks:    on the file system.
 */
#ifndef OS_LOG_FILE_H
#define OS_LOG_FILE_H

#include "base/compiler.h"

#include <stdbool.h>
#include <sys/types.h>

struct log_file {
    char *path;         /* absolute: the current directory may change */
    int fd;             /* O_APPEND, CLOEXEC except as fd 2; -1 = none */
    bool is_made;       /* this process has created it */
    bool is_descriptor; /* the path is like /dev/stdout */
    uid_t user;         /* the owner to be, who may have created it */
};

#define LOG_FILE_NONE ((struct log_file){.fd = -1})

/* Opens the file, or creates it (mode 0640 less the umask). user: see
 * safe_path_find(). Where it cannot be opened, log_file_reopen() may try
 * again.  */
CHECK_RESULT int log_file_open(struct log_file *f, const char *path,
                               uid_t user);
void log_file_fini(struct log_file *f);

/* Takes over fd, which an earlier run of the program opened at that path. */
CHECK_RESULT int log_file_adopt(struct log_file *f, const char *path, int fd);

/* Makes fd 2 the file, and fd 1 as well where it was the same as fd 2. */
CHECK_RESULT int log_file_take_stderr(struct log_file *f);

/* Changes the owner of a file that this process has created, so that this user
 * can open it again. */
CHECK_RESULT int log_file_chown(const struct log_file *f, uid_t uid, gid_t gid);

/* Opens the path again, if it is a file. On failure the old file stays open. */
CHECK_RESULT int log_file_reopen(struct log_file *f);

/* True where the path is another file by now, or does not exist; false where
 * that cannot be known. */
bool log_file_has_moved(const struct log_file *f);

/* Cuts the file fd, if it is a regular one and has more than most bytes, to the
 * lines among its last keep bytes. Other processes may append meanwhile; what
 * they write in the moment of the cut itself is lost. */
CHECK_RESULT int log_file_cut(int fd, off_t most, size_t keep);

#endif
