/*
 * upload.h - the body of a request: --data-file
 *
 * What:      a regular file is read while it is sent. Any other (a pipe, a
 *            terminal) is read into a spool first, because the request starts
 *            with the length.
 * Owner:     client_request().
 * Threads:   one.                                                GIL: not used.
 * Errors:    0 or -errno.
 * Blocks:    on the file system; for a pipe until timeout_ms without a byte.
 */
#ifndef CLIENT_UPLOAD_H
#define CLIENT_UPLOAD_H

#include "base/compiler.h"
#include "transport/spool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct upload {
    int fd; /* -1: in the spool */
    struct spool spool;
    uint64_t left; /* bytes that upload_read() has not returned yet */
};

/* Makes an empty body. */
void upload_init(struct upload *b);
void upload_fini(struct upload *b);

/* path "-" is stdin. */
CHECK_RESULT int upload_open(struct upload *b, const char *path,
                             int64_t timeout_ms);

/* Reads up to size bytes; 0 at the end. -ENODATA: the file has become
 * shorter. */
CHECK_RESULT ssize_t upload_read(struct upload *b, void *to, size_t size);

#endif
