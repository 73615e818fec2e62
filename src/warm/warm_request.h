/*
 * warm_request.h - --keep-warm: an instance serves a CGI request
 *
 * What:      finds or starts the instance of the script, and passes the request
 *            on to it, if that can do no harm: a request that the instance may
 *            have begun is never begun again, except for GET and HEAD.
 * Owner:     cgi_run(), whose request this is.
 * Threads:   one, before Python.                                 GIL: not used.
 * Errors:    see warm_request().
 * Blocks:    as long as the application takes for its response.
 */
#ifndef WARM_WARM_REQUEST_H
#define WARM_WARM_REQUEST_H

#include "base/compiler.h"
#include "gateway/request.h"
#include "warm/warm_folder.h"

#include <stdbool.h>

/* True: q has been answered. False: it has not, and all of its body is there;
 * why has the reason. */
CHECK_RESULT bool warm_request(struct request *q, char **argv,
                               char *const *environment,
                               char why[WARM_WHY_SIZE]);

#endif
