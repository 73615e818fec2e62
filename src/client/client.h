/*
 * client.h - the client commands: --ping, --status, --request
 *
 * What:      a FastCGI client that sends a request to a running backend and
 *            writes the answer to stdout.
 * Owner:     main(), instead of serving.
 * Threads:   one.                                                GIL: not used.
 * Errors:    an exit code, after one log line.
 * Blocks:    up to --timeout: --ping and --status in all, --request for each
 *            wait without a byte.
 * Standards: FastCGI 1.0; RFC 3875, 6 (the response's head).
 */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include "base/compiler.h"
#include "conf/config.h"

/* With --ping-path it requests that path and expects 2xx. Else it sends
 * FCGI_GET_VALUES: an answer shows that a thread takes requests, and no request
 * starts. 0, EX_USAGE or EX_UNAVAILABLE. */
CHECK_RESULT int client_ping(const struct config *config);

/* Prints the status page of --status-path (default /status) as text, or as JSON
 * with --json. 0, EX_USAGE, EX_IOERR or EX_UNAVAILABLE. */
CHECK_RESULT int client_status(const struct config *config);

/* Sends a request. 0 for 2xx and 3xx, 1 for another status, EX_USAGE,
 * EX_NOINPUT (--data-file), EX_IOERR (stdout), EX_UNAVAILABLE. */
CHECK_RESULT int client_request(const struct config *config);

#endif
