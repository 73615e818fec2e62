/*
 * logs.h - the log files of this process: --log-file, --access-log, --slow-log
 *
 * What:      opens the files, and opens them again at SIGHUP and SIGUSR1.
 *            Keeps the log of an instance small, and removes it.
 * Owner:     the process; a forked worker has descriptors of its own.
 * Lifetime:  logs_open() to the end of the process.
 * Threads:   logs_reopen(), logs_look() and logs_slow_fd() any, one at a time
 *            under a lock; the rest only at the start.           GIL: not used.
 * Errors:    logs_open(): a sysexits code after a log line. If a file cannot be
 *            opened again, the old one stays in use, and the log says why.
 * Blocks:    file system.
 */
#ifndef PROCESS_LOGS_H
#define PROCESS_LOGS_H

#include "base/compiler.h"
#include "conf/config.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Sets the format and the level of the log. Call it before anything may log. */
void logs_set_up(const struct config *config);

/* Opens the files; call it in the folder that the program was started in.
 * restarted: the files are open already, from before the restart, as descriptor
 * 2, access_fd and slow_fd (else -1). They are used as they are, and errors do
 * not end the process; logs_look() follows. user: the user that the process
 * will become. */
CHECK_RESULT int logs_open(const struct config *config, bool restarted,
                           int access_fd, int slow_fd, uid_t user);

/* Gives new files to the user that the process will become (--user), so that it
 * can open them again. */
void logs_give(uid_t uid, gid_t gid);

/* Makes the log file descriptor 2; true if there is a log file. Call it when
 * the start has succeeded: until then, errors go to the process that started
 * the program. */
bool logs_take_stderr(void);

/* The file of --slow-log; -1: stacks of slow requests go to the log. The number
 * stays the same when the file is opened again. */
int logs_slow_fd(void);

/* Opens the files again, in every process. signal_name: the signal that asked
 * for this and nothing else ("SIGUSR1"), so that the log says that it is done;
 * or NULL. */
void logs_reopen(const char *signal_name);

/* Opens files again that have been renamed. A worker calls this when its
 * signals are open, since its parent may have the renamed files; the same after
 * a restart. */
void logs_look(void);

/* -- the log of an instance of --keep-warm --------------------------------- */

/* socket: FOLDER/NAME.sock. If FOLDER/NAME.log is descriptor 2, the process
 * owns that file from now on. Call it before logs_take_stderr(). */
void logs_own(const char *socket);

/* Keeps that file small; call it now and then, in one process. */
void logs_limit(int64_t now_ms);

/* Removes it, for a process that ends without an error. */
void logs_remove_own(void);

/* In a forked process: it belongs to the parent. */
void logs_forget_own(void);

#endif
