/*
 * wait.h - waits until a transport's descriptor is ready
 *
 * Threads:   the one that runs the request.
 * GIL:       the hooks of the request release and take it.
 * Errors:    -errno.                              Blocks: until the deadline.
 */
#ifndef TRANSPORT_WAIT_H
#define TRANSPORT_WAIT_H

#include "base/compiler.h"
#include "gateway/request.h"

#include <stdint.h>

/* Waits for events (POLLIN, POLLOUT) on fd until the absolute time deadline_ms
 * of clock_ms(), with the request's hooks around the wait. Returns the revents,
 * or -ETIMEDOUT, -ECANCELED (request_is_cancelled()) or -errno. EINTR is
 * retried. */
CHECK_RESULT int transport_wait(struct request *q, int fd, short events,
                                int64_t deadline_ms);

#endif
