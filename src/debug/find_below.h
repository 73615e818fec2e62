/*
 * find_below.h - a file that is one folder further down than it was looked for
 *
 * What:      for messages: looks into the folders of a folder.
 * Owner:     the caller has the memory.
 * Threads:   any.                                                GIL: not used.
 * Errors:    false: it is not there; logs nothing.        Blocks: file system.
 */
#ifndef DEBUG_FIND_BELOW_H
#define DEBUG_FIND_BELOW_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>

/* True if a folder of folder has the regular file path, which is relative.
 * ret_name is the name of that folder; of several, the first in the alphabet.
 * Looks at a limited number of names, and at none that begins with a dot. */
CHECK_RESULT bool find_below(const char *folder, const char *path,
                             char *ret_name, size_t size);

/* What was meant by path, where there is no regular file full, its absolute
 * form: full/wsgi.py, or a file with the name or relative path one folder
 * further down. False: neither. */
CHECK_RESULT bool find_below_path(const char *path, const char *full, char *ret,
                                  size_t size);

#endif
