/*
 * script_check.h - can the kernel run this script as a CGI program?
 *
 * What:      finds errors in a #! line that names this program, and in the
 *            permissions of the file. A web server only reports "exec format
 *            error", or that an existing file does not exist.
 * Owner:     nothing is kept.
 * Threads:   the main thread.                                    GIL: not used.
 * Errors:    a warning for each error that it finds, and a notice about options
 *            that were not used.
 * Blocks:    file system.
 * Standards: execve(2).
 */
#ifndef MODE_SCRIPT_CHECK_H
#define MODE_SCRIPT_CHECK_H

#include <stdbool.h>

/* A file without a #! line of ours is not meant to be run: no warning.
 * with_options: this process was started with the options in the line. */
void script_check(const char *path, bool with_options);

#endif
