/*
 * imports.h - the files of the modules that have been imported, as they come
 *
 * What:      notes, at the end of whatever may import, the files of the modules
 *            that are new in sys.modules, for somebody without Python to watch.
 * Owner:     the process; who takes a list owns it.
 * Threads:   any.            GIL: held, but for imports_watch(), imports_take()
 *            and imports_free().
 * Errors:    none: a file that cannot be noted is not.     Blocks: file system.
 */
#ifndef APP_IMPORTS_H
#define APP_IMPORTS_H

#include "base/compiler.h"
#include "os/file_id.h"

#include <stdbool.h>

struct imports_file {
    struct imports_file *next;
    struct file_id stamp; /* as it was imported; all 0: not there, or changed
                         * meanwhile, so whatever is there now is new */
    char path[];          /* absolute */
};

/* Without it, or with false, none of the below does anything. */
void imports_watch(bool on);

/* Around each load and each request. */
void imports_begin(void);
void imports_end(void);

/* One more file that matters, imported or not. */
void imports_add(const char *path, struct file_id stamp);

/* What has come since the last call; NULL where nothing has. */
CHECK_RESULT struct imports_file *imports_take(void);

/* Frees the first one of a list and returns the next. */
struct imports_file *imports_free(struct imports_file *first);

#endif
