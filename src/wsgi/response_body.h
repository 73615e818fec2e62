/*
 * upload.h - what the application returned, on its way to the client
 *
 * What:      a list or tuple leaves whole; a FileWrapper around a real file by
 *            sendfile; anything else block by block, each before the next is
 *            asked for, as long as there is a client and Content-Length has room.
 * Owner:     the result stays the caller's, who also closes it.
 * Threads:   the request's thread.
 * GIL:       held; released while the peer does not read.
 * Errors:    see enum response_body_end.          Blocks: as the application and the peer.
 * Standards: PEP 3333, Buffering and Streaming, Content-Length.
 */
#ifndef WSGI_RESPONSE_BODY_H
#define WSGI_RESPONSE_BODY_H

#include "context/request_guard.h"
#include "python/python.h"
#include "wsgi/module.h"

enum response_body_end {
    RESPONSE_BODY_FAILED =
        -1, /* a Python exception is set; the response is not ended */
    RESPONSE_BODY_DONE, /* the response has ended (cut short: aborted and logged) */
    RESPONSE_BODY_GONE, /* the client went away: guard->gone says how */
};

CHECK_RESULT enum response_body_end
response_body_send(struct request_guard *g, const struct module_state *types,
                   PyObject *result);

#endif
