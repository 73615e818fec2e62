/*
 * log_file.h - a file that lines are appended to, and that may be rotated
 *
 * What:      whoever rotates renames the file and asks for it to be opened again:
 *            a new one then takes the place of the old, on the same descriptor, so
 *            that writers in other threads lose nothing and need not know.
 * Owner:     the caller's struct; log_file_fini() for a half-made one too.
 * Threads:   one at a time, besides writers to fd.               GIL: not used.
 * Errors:    0 or -errno, for safe_path_strerror(); logs nothing.
 * Blocks:    on the file system.
 */
#ifndef OS_LOG_FILE_H
#define OS_LOG_FILE_H

#include "base/compiler.h"

#include <stdbool.h>
#include <sys/types.h>

struct log_file {
    char *path;         /* absolute: the folder may change later */
    int fd;             /* O_APPEND; CLOEXEC but on fd 2; -1 = none */
    bool is_made;       /* it did not exist */
    bool is_descriptor; /* the path names one of a process, as /dev/stdout */
    uid_t user;         /* who is going to have it, and may have made it */
};

#define LOG_FILE_NONE ((struct log_file){.fd = -1})

/* Opens or makes (mode 0640, less the umask) the file. user: see safe_path_find().
 * After a failure that was the file's, f is good for log_file_reopen() all the
 * same. */
CHECK_RESULT int log_file_open(struct log_file *f, const char *path,
                               uid_t user);
void log_file_fini(struct log_file *f);

/* The file is open already, as fd (which becomes f's), and was at that path once. 0
 * or -ENOMEM, -errno. */
CHECK_RESULT int log_file_adopt(struct log_file *f, const char *path, int fd);

/* From here on fd 2 is the file, and fd 1 where it was the same as fd 2. */
CHECK_RESULT int log_file_take_stderr(struct log_file *f);

/* A file that was made here becomes that user's, who can then open it again. 0 or
 * -errno. */
CHECK_RESULT int log_file_give(const struct log_file *f, uid_t uid, gid_t gid);

/* Opens the path again, if it is a file. On failure all stays as it was. */
CHECK_RESULT int log_file_reopen(struct log_file *f);

/* True where the path names another file by now, or none; false where we may not
 * look there. */
bool log_file_has_moved(const struct log_file *f);

#endif
