/*
 * scripts.h - which script below --scripts-in a request means
 *
 * What:      SCRIPT_FILENAME, else PATH_TRANSLATED, with proxies' prefixes
 *            removed, cut at the first regular file, and only below the folder.
 * Threads:   any.                                                GIL: not used.
 * Errors:    0 or -errno; logs nothing.                Blocks: file system.
 * Standards: RFC 3875, 4.1.6 (PATH_TRANSLATED).
 */
#ifndef APP_SCRIPTS_H
#define APP_SCRIPTS_H

#include "base/compiler.h"
#include "gateway/request.h"

#include <stddef.h>
#include <sys/stat.h>

struct found_script {
    char *path; /* real path, to be freed by found_script_fini() */
    struct stat st;
    size_t extra; /* bytes of PATH_INFO the server had counted to the path */
};

/* dir is a real path. -ENOENT where the request names no file below it, -EACCES
 * where the file has neither the name of a script nor an x bit. Divides
 * SCRIPT_NAME and PATH_INFO of q behind the script's name, where they are not. */
CHECK_RESULT int scripts_find(struct request *q, const char *dir,
                              struct found_script *ret_script);
void found_script_fini(struct found_script *s);

#endif
