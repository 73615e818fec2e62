/*
 * debug_page.h - the error page of --debug
 *
 * What:      one HTML page without outside resources: the exception, its source
 *            lines, the traceback as text, the request's variables.
 * Owner:     the caller owns the buffer.
 * Threads:   the request's thread.                                GIL: held.
 * Errors:    0 or -errno; never leaves a Python exception set.
 * Blocks:    file system (source lines).
 */
#ifndef DEBUG_DEBUG_PAGE_H
#define DEBUG_DEBUG_PAGE_H

#include "python/python.h"

#include "base/buf.h"
#include "gateway/request.h"

/* Adds the page (UTF-8) to out. Borrows exc. Values of cookies, passwords and
 * the like are not shown. On failure out holds half a page: drop it. */
CHECK_RESULT int debug_page(struct request *q, PyObject *exc, struct buf *out);

#endif
