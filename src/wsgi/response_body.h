/*
 * response_body.h - sends what the application returned to the client
 *
 * What:      sends a list or tuple at once, a FileWrapper around a plain file
 *            by sendfile(), and anything else block by block: each block is
 *            sent before the next one is asked for, while the client is there
 *            and Content-Length is not reached.
 * Owner:     the caller keeps the result, and closes it.
 * Threads:   the request's thread.
 * GIL:       held; released while the client does not read. A list is copied
 *            before it is sent; an iterator is asked by this thread, but the
 *            application may give one to several requests.
 * Errors:    see enum response_body_end.
 * Blocks:    as long as the application and the client do.
 * Standards: PEP 3333, Buffering and Streaming, Content-Length.
 */
#ifndef WSGI_RESPONSE_BODY_H
#define WSGI_RESPONSE_BODY_H

#include "context/request_guard.h"
#include "python/python.h"
#include "wsgi/module.h"

enum response_body_end {
    /* A Python exception is set; the response has not ended. */
    RESPONSE_BODY_FAILED = -1,
    /* The response has ended; if it was cut short it is aborted and logged. */
    RESPONSE_BODY_DONE,
    /* The client went away; guard->gone says how. */
    RESPONSE_BODY_GONE,
};

CHECK_RESULT enum response_body_end
response_body_send(struct request_guard *g, const struct module_state *types,
                   PyObject *result);

#endif
