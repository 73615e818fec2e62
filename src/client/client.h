/*
 * client.h - the FastCGI client of the command line: --ping, --status, --request
 *
 * What:      asks a running backend something and says on stdout what it said.
 * Owner:     main(), instead of serving.
 * Threads:   one.                                                GIL: not used.
 * Errors:    an exit code; what is wrong stands in one line of the log.
 * Blocks:    up to --timeout: for the whole of a ping or status question, for
 *            each wait without a byte of a request.
 * Standards: FastCGI 1.0; RFC 3875, 6 (the response's head).
 */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include "base/compiler.h"
#include "conf/config.h"

/* With --ping-path a request for that path, which must be answered with 2xx;
 * else FCGI_GET_VALUES, which must be answered at all: that proves a thread that
 * takes requests, and starts none. 0, EX_USAGE or EX_UNAVAILABLE. */
CHECK_RESULT int client_ping(const struct config *config);

/* The status page as text, or JSON with --json, from --status-path (/status).
 * 0, EX_USAGE, EX_IOERR or EX_UNAVAILABLE. */
CHECK_RESULT int client_status(const struct config *config);

/* One request. 0 for 2xx and 3xx, 1 for any other status, EX_USAGE, EX_NOINPUT
 * (--data-file), EX_IOERR (stdout), EX_UNAVAILABLE. */
CHECK_RESULT int client_request(const struct config *config);

#endif
