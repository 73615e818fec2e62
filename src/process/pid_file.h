/*
 * pid_file.h - the file with our process ID
 *
 * What:      --pid-file. It is written completely or not at all. It replaces a
 *            stale pid file, but never that of a running process, and no other
 *            file.
 * Owner:     the process that wrote it: the one process, or the master.
 * Lifetime:  pid_file_write() to pid_file_remove().
 * Threads:   one at a time.                                      GIL: not used.
 * Errors:    a sysexits code after one log line.
 * Blocks:    file system.
 */
#ifndef PROCESS_PID_FILE_H
#define PROCESS_PID_FILE_H

#include "base/compiler.h"

#include <stdbool.h>

/* path may be relative to the current folder. is_written: this process wrote
 * the file before it restarted, perhaps as another user, and only has to
 * remember it. Returns 0, EX_UNAVAILABLE (it belongs to another process, or is
 * not a pid file), EX_CANTCREAT or EX_OSERR. */
CHECK_RESULT int pid_file_write(const char *path, bool is_written);

/* Removes the file if this process wrote it and it still has our process ID. A
 * second call does nothing. */
void pid_file_remove(void);

#endif
