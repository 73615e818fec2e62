/*
 * warm_status.h - the status page of an instance
 *
 * What:      asks a control socket for its page as text, and reads fields of it.
 * Owner:     the caller has the descriptor and the buffer.
 * Threads:   one.                                                GIL: not used.
 * Errors:    -errno; logs nothing.
 * Blocks:    up to timeout_ms.
 */
#ifndef WARM_WARM_STATUS_H
#define WARM_WARM_STATUS_H

#include "base/buf.h"
#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WARM_STATUS_MAX = 1 << 20 }; /* for the buffer */

/* fd is connected to the control socket, and does not block. query is that of
 * the page: "text", or "text&full" for all processes. The page is a string. 0,
 * -ETIMEDOUT or another -errno. */
CHECK_RESULT int warm_status_get(int fd, const char *query, int64_t timeout_ms,
                                 struct buf *page);

/* The value in the first line "NAME: VALUE" from there on, and its length; NULL:
 * there is none. */
const char *warm_status_text(const char *page, const char *name,
                             size_t *ret_length);

/* The same for a number; false: it is none. */
CHECK_RESULT bool warm_status_number(const char *page, const char *name,
                                     uint64_t *ret);

#endif
