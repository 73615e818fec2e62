/*
 * failure.h - logs and answers requests that fail
 *
 * What:      logs an exception with its traceback under the request's id, and
 *            sends an error page with that id, or breaks the transfer off if
 *            the head has been sent. A client that went away is one log line.
 * Threads:   the request's thread.
 * GIL:       held. Without one, too, nothing is shared.
 * Errors:    none; no exception stays set, no traceback is kept.
 * Blocks:    as long as the log and the client do.
 * Standards: PEP 3333, Error Handling.
 */
#ifndef WSGI_FAILURE_H
#define WSGI_FAILURE_H

#include "context/request_guard.h"
#include "python/python.h"

/* Logs and answers the current exception, which ended the request. */
void failure_answer(struct request_guard *g);

/* The client is gone, or must be treated so (g->gone): logs it and aborts. */
void failure_gone(struct request_guard *g);

/* Logs and clears the current exception, if any, which has no other effect.
 * where says what raised it. */
void failure_note(struct request_guard *g, const char *where);

#endif
