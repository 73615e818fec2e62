/*
 * access_log.h - --access-log: one line for each request that has ended
 *
 * What:      the Combined form of web servers with the duration, pid and id
 *            behind it, or a JSON object; in a file of its own, or in the log
 *            ("-").
 * Owner:     the process.
 * Threads:   any; a line is one write(2).   GIL: not held: the write may block.
 * Errors:    0 or -errno where it says so; a line that cannot be written is
 *            lost.
 * Blocks:    as the file does.
 */
#ifndef GATEWAY_ACCESS_LOG_H
#define GATEWAY_ACCESS_LOG_H

#include "base/compiler.h"
#include "conf/config.h"
#include "gateway/request.h"

#include <stdbool.h>
#include <sys/types.h>

/* At start only. Without it the functions below do nothing. fd: the file,
 * opened by the program before us, or -1. user: see log_file_open(). */
CHECK_RESULT int access_log_open(const struct config *config, int fd,
                                 uid_t user);

/* The descriptor of its file, for the program after us; -1 = none. */
CHECK_RESULT int access_log_fd(void);

/* log_file_chown() of its file, if it has one. */
CHECK_RESULT int access_log_give(uid_t uid, gid_t gid);

/* At SIGHUP. moved_only: only if the path names another file now. On failure
 * the old file stays in use. */
CHECK_RESULT int access_log_reopen(bool moved_only);

/* Around a request: its parameters must still exist at its end. Only the first
 * end is logged. */
void access_log_begin(struct request *q);
void access_log_end(struct request *q);

#endif
