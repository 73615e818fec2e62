/*
 * failure.h - requests that do not end well: the log line and the answer
 *
 * What:      an exception is logged with its traceback under the request's id;
 *            the client gets an error page with that id, or a broken transfer
 *            where the head is out already. A client that went away is one line.
 * Threads:   the request's thread.                                   GIL: held.
 * Errors:    none; no exception is left, no traceback is kept.
 * Blocks:    as the log and the peer.
 * Standards: PEP 3333, Error Handling.
 */
#ifndef WSGI_FAILURE_H
#define WSGI_FAILURE_H

#include "context/request_guard.h"
#include "python/python.h"

/* The current exception ended the request: log and answer. */
void failure_answer(struct request_guard *g);

/* The client is gone, or as good as that (g->gone): log and abort. */
void failure_gone(struct request_guard *g);

/* Logs and clears the current exception, which changes nothing any more; where
 * says what raised it. */
void failure_note(struct request_guard *g, const char *where);

#endif
