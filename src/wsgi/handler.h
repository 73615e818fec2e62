/*
 * handler.h - runs one request through the WSGI application
 *
 * What:      takes the GIL, makes environ, calls the application, sends what it
 *            returns, calls close(), and answers errors.
 * Owner:     each request thread makes its own struct wsgi_thread.
 * Lifetime:  wsgi_thread_new() to wsgi_thread_free().
 * Threads:   each wsgi_thread is used in the thread that made it.
 * GIL:       not held by the caller; taken and released inside. Without one, too,
 *            a wsgi_thread is one thread's, and a request its guard's
 *            (context/request_guard.h).
 * Errors:    none: everything ends in a response or an abort, and a log line.
 * Blocks:    as long as the application does.
 * Standards: PEP 3333.
 */
#ifndef WSGI_HANDLER_H
#define WSGI_HANDLER_H

#include "base/compiler.h"
#include "conf/config.h"
#include "gateway/request.h"

#include <stdbool.h>

struct wsgi_thread;

/* The values of wsgi.multithread and wsgi.multiprocess. */
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
 * been called, and no Python object can reach the request any more. If
 * q->has_after is set, call handler_after() next. */
void handler_run(struct wsgi_thread *t, struct request *q);

/* Runs the calls that after_response() has noted, when the client has the
 * response and the connection has been given back. q needs only what
 * request_detach() leaves. */
void handler_after(struct wsgi_thread *t, struct request *q);

#endif
