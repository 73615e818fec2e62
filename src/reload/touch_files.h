/*
 * touch_files.h - the files of --touch-reload
 *
 * What:      makes their names absolute before the program changes its working
 *            directory, and checks that they can be watched.
 * Owner:     the process.
 * Lifetime:  touch_files_prepare() to the end of the process.
 * Threads:   touch_files_prepare() the main thread, before there are others; the
 *            rest any.                                           GIL: not used.
 * Errors:    touch_files_prepare(): a sysexits code after a log line.
 * Blocks:    file system.
 */
#ifndef RELOAD_TOUCH_FILES_H
#define RELOAD_TOUCH_FILES_H

#include "base/compiler.h"
#include "conf/config.h"

#include <stddef.h>

/* Call it as the user that will serve, before chdir(). A file may be missing,
 * but not its directory: that is a wrong name. 0, or EX_NOINPUT. */
CHECK_RESULT int touch_files_prepare(const struct config *config);

size_t touch_files_count(void);

/* An absolute path. */
const char *touch_files_get(size_t i);

#endif
