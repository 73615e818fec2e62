/*
 * scripts.h - which script below --scripts-in a request means
 *
 * What:      SCRIPT_FILENAME, else PATH_TRANSLATED, without a proxy's prefix,
 *            cut at the first regular file, and only if that is below the
 *            folder.
 * Owner:     the caller owns struct found_script.
 * Threads:   any.
 * GIL:       not used.
 * Errors:    0 or -errno; logs nothing.
 * Blocks:    on the file system.
 * Standards: RFC 3875, 4.1.6 (PATH_TRANSLATED).
 */
#ifndef APP_SCRIPTS_H
#define APP_SCRIPTS_H

#include "base/compiler.h"
#include "gateway/request.h"

#include <stddef.h>
#include <sys/stat.h>

struct found_script {
    char *path; /* real path; found_script_fini() frees it */
    struct stat st;
    /* bytes of PATH_INFO that the server took for part of the path */
    size_t extra;
};

/* dir is a real path. -ENOENT if the request names no file below it, -EACCES if
 * the file has neither the name of a script nor an x bit. Splits SCRIPT_NAME
 * and PATH_INFO of q behind the script's name if the server has not. */
CHECK_RESULT int scripts_find(struct request *q, const char *dir,
                              struct found_script *ret_script);
void found_script_fini(struct found_script *s);

#endif
