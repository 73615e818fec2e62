/*
 * logs.h - where this process logs to: --log-file and --access-log
 *
 * What:      both files from their opening to the end, the opening anew at SIGHUP
 *            in between.
 * Owner:     the process; a forked worker has its own descriptors from then on.
 * Threads:   logs_reopen(), logs_look() any; the rest at start only.
 * GIL:       not used.
 * Errors:    logs_open(): a sysexits code after a log line; later a file that
 *            cannot be opened again goes on as it was, and the log says why.
 * Blocks:    on the file system.
 */
#ifndef PROCESS_LOGS_H
#define PROCESS_LOGS_H

#include "base/compiler.h"
#include "conf/config.h"

#include <stdbool.h>
#include <sys/types.h>

/* The form and levels of the log; before anything that may log. */
void logs_set_up(const struct config *config);

/* Opens the files, in the folder of the start. restarted: the program before us
 * was this one and had them open: as fd 2, and as access_fd (else -1), and they are
 * taken as they are; no file is worth an end then. logs_look() comes later. user:
 * who we are going to be. */
CHECK_RESULT int logs_open(const struct config *config, bool restarted,
                           int access_fd, uid_t user);

/* What was made becomes the user's that we are about to be (--user), so that it
 * can be opened again then. */
void logs_give(uid_t uid, gid_t gid);

/* The start has gone well: from here on fd 2 is the log file, if there is one:
 * true. Until then whoever started us is told what is wrong. */
bool logs_take_stderr(void);

/* At SIGHUP, in every process. */
void logs_reopen(void);

/* In a worker when its signals are open: whoever forked it may have had files
 * that have been renamed since. The same after a restart. */
void logs_look(void);

#endif
