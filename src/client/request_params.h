/*
 * request_params.h - the variables of a request, like those of a web server
 *
 * What:      name-value pairs of FastCGI from the method, the path, --header
 *            and --set, which overrides all others.
 * Owner:     the caller owns the buffer.
 * Threads:   one.                                                GIL: not used.
 * Errors:    0; EX_USAGE or EX_OSERR after a log line.           Blocks: never.
 * Standards: RFC 3875, 4.1; FastCGI 1.0, 3.4.
 */
#ifndef CLIENT_REQUEST_PARAMS_H
#define CLIENT_REQUEST_PARAMS_H

#include "base/buf.h"
#include "base/compiler.h"
#include "conf/config.h"

#include <stdint.h>

/* Adds a pair. 0 or -errno of the buffer. */
CHECK_RESULT int request_params_add(struct buf *to, const char *name,
                                    const char *value, size_t nvalue);

/* Adds those of a CGI request: the environment, changed by --set. 0 or -errno of
 * the buffer. length replaces CONTENT_LENGTH; -1 = it stays as it is. */
CHECK_RESULT int request_params_from_environment(struct buf *to,
                                                 const struct config *config,
                                                 char *const *environment,
                                                 int64_t length);

/* Adds the variables of a request. path is "/path" or "/path?query",
 * percent-encoded as in a URL; length is that of the body, -1 = none. */
CHECK_RESULT int request_params_make(struct buf *to,
                                     const struct config *config,
                                     const char *option, const char *method,
                                     const char *path, int64_t length);

#endif
