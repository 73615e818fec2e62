/*
 * cgi_watch.h - --request-timeout and --slow of the one request of a CGI process
 *
 * What:      a thread that does what the caretaker does for a FastCGI process. A
 *            request that nothing can end ends with the process.
 * Owner:     main(), where one of the options is given.
 * Lifetime:  cgi_watch_begin() to cgi_watch_end().
 * Threads:   the main thread; one of its own, with all signals blocked.
 * GIL:       not held.                       Errors: 0 or -errno.
 * Blocks:    cgi_watch_end(): for a dump that is just being made.
 */
#ifndef WORKER_CGI_WATCH_H
#define WORKER_CGI_WATCH_H

#include "base/compiler.h"
#include "conf/config.h"
#include "gateway/request.h"

/* Before the request is run; interrupt_open() and stack_dump_open() have been called. */
CHECK_RESULT int cgi_watch_begin(const struct config *config,
                                 struct request *q);

/* It has run. Nothing where there is no watch. */
void cgi_watch_end(const struct request *q);

#endif
