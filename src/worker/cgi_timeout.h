/*
 * cgi_timeout.h - --request-timeout and --slow of the one request of a CGI process
 *
 * What:      a thread that does what the control thread does for a FastCGI process. A
 *            request that nothing can end ends with the process.
 * Owner:     main(), where one of the options is given.
 * Lifetime:  cgi_timeout_begin() to cgi_timeout_end().
 * Threads:   the main thread; one of its own, with all signals blocked.
 * GIL:       not held.                       Errors: 0 or -errno.
 * Blocks:    cgi_timeout_end(): for a dump that is just being made.
 */
#ifndef WORKER_CGI_TIMEOUT_H
#define WORKER_CGI_TIMEOUT_H

#include "base/compiler.h"
#include "conf/config.h"
#include "gateway/request.h"

/* Before the request is run; interrupt_open() and stack_dump_open() have been called. */
CHECK_RESULT int cgi_timeout_begin(const struct config *config,
                                   struct request *q);

/* It has run. Nothing where there is no watch. */
void cgi_timeout_end(const struct request *q);

#endif
