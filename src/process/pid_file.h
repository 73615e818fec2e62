/*
 * pid_file.h - the file that holds our process id
 *
 * What:      --pid-file: written whole or not at all, over a stale one; never over
 *            the file of a process that runs, nor over a file of another kind.
 * Owner:     the process that wrote it: the one process, or the master.
 * Threads:   one at a time.                                      GIL: not used.
 * Errors:    a sysexits code after one log line.        Blocks: file system.
 */
#ifndef PROCESS_PID_FILE_H
#define PROCESS_PID_FILE_H

#include "base/compiler.h"

#include <stdbool.h>

/* path may be relative to the current folder. is_written: it was by this process
 * before it executed itself again, and perhaps as another user: nothing is to be
 * done but to remember it. 0, EX_UNAVAILABLE (another process has it; not a pid
 * file), EX_CANTCREAT or EX_OSERR. */
CHECK_RESULT int pid_file_write(const char *path, bool is_written);

/* Removes it, where this process wrote it and it still has our id. Again:
 * nothing. */
void pid_file_remove(void);

#endif
