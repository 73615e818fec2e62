/*
 * debug_page.h - the error page of --debug
 *
 * What:      an HTML page without external resources: the exception, its source
 *            lines, the traceback as text, the variables of the request.
 * Owner:     the caller owns the buffer.
 * Lifetime:  one request.
 * Threads:   the request's thread.
 * GIL:       held. Without one: what other threads may change (sys.path, the
 *            lines of linecache) is copied or counted, never borrowed.
 * Errors:    0 or -errno; never leaves a Python exception set.
 * Blocks:    file system (source lines).
 */
#ifndef DEBUG_DEBUG_PAGE_H
#define DEBUG_DEBUG_PAGE_H

#include "python/python.h"

#include "base/buf.h"
#include "gateway/request.h"

/* Adds the page (UTF-8) to out. Borrows exc. Does not show the values of
 * cookies, passwords and the like. After an error, out has only a part of the
 * page. */
CHECK_RESULT int debug_page(struct request *q, PyObject *exc, struct buf *out);

#endif
