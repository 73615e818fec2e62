/*
 * cgi_timeout.h - --request-timeout and --slow for the request of a CGI process
 *
 * What:      a thread that does what the control thread does in a FastCGI
 *            process. A request that nothing can end ends with the process.
 * Owner:     mode/cgi_process.c, where one of the options is given.
 * Lifetime:  cgi_timeout_begin() to cgi_timeout_end().
 * Threads:   the main thread; one of its own, with all signals blocked.
 * GIL:       not held.                       Errors: 0 or -errno.
 * Blocks:    cgi_timeout_end(): while a dump is being written.
 */
#ifndef MODE_CGI_TIMEOUT_H
#define MODE_CGI_TIMEOUT_H

#include "base/compiler.h"
#include "conf/config.h"
#include "gateway/request.h"

/* Before the request runs, after interrupt_open() and stack_dump_open(). */
CHECK_RESULT int cgi_timeout_begin(const struct config *config,
                                   struct request *q);

/* The request has ended. Does nothing where there was no
 * cgi_timeout_begin(). */
void cgi_timeout_end(const struct request *q);

#endif
