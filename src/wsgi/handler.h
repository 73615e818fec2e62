/*
 * handler.h - runs one request through the WSGI application
 *
 * What:      GIL, environ, call, iteration, close(), error pages: PEP 3333.
 * Owner:     one struct wsgi_thread per request thread, made and used there.
 * Lifetime:  wsgi_thread_new() to wsgi_thread_free().
 * Threads:   each wsgi_thread belongs to its thread.
 * GIL:       not held by the caller; taken and released inside.
 * Errors:    none: whatever happens ends in a response or an abort, and a log
 *            line.                       Blocks: as long as the application does.
 * Standards: PEP 3333.
 */
#ifndef WSGI_HANDLER_H
#define WSGI_HANDLER_H

#include "base/compiler.h"
#include "conf/config.h"
#include "gateway/request.h"

#include <stdbool.h>

struct wsgi_thread;

/* What wsgi.multithread and wsgi.multiprocess say. */
struct wsgi_flags {
    bool multithread;
    bool multiprocess;
};

/* is_main: this is the thread that called interp_start(). NULL: no memory. */
CHECK_RESULT struct wsgi_thread *wsgi_thread_new(const struct config *config,
                                                 struct wsgi_flags flags,
                                                 bool is_main);
void wsgi_thread_free(struct wsgi_thread **t);

/* Runs the application. On return the response is DONE or ABORTED, close() has
 * been called, and no Python object can reach the request any more. With
 * q->has_after set, handler_after() must follow. */
void handler_run(struct wsgi_thread *t, struct request *q);

/* Does what the application left for the time after the response, when the
 * client has the response and the connection is somebody else's again; q needs
 * nothing but what request_detach() leaves. */
void handler_after(struct wsgi_thread *t, struct request *q);

#endif
