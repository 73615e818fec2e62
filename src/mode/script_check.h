/*
 * script_check.h - can the kernel run this script as a CGI program?
 *
 * What:      what is wrong with a first line that names this program, and with
 *            the file's permissions. A web server only says "exec format error",
 *            or that a file which is there does not exist.
 * Owner:     nothing is kept.
 * Threads:   the main thread.                                    GIL: not used.
 * Errors:    none: a warning for each fault.           Blocks: file system.
 */
#ifndef MODE_SCRIPT_CHECK_H
#define MODE_SCRIPT_CHECK_H

/* Silent about a file without such a line: it is not meant to be run. */
void script_check(const char *path);

#endif
