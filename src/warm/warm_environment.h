/*
 * warm_environment.h - the environment of an instance
 *
 * What:      the environment of a CGI request without what describes the
 *            request: the meta-variables of RFC 3875, and those that web servers
 *            add. What the administrator has set stays.
 * Owner:     the caller frees the array; the strings stay those of both
 *            arguments.
 * Threads:   any.                                                GIL: not used.
 * Errors:    NULL where memory is out.                           Blocks: never.
 * Standards: RFC 3875, 4.1.
 */
#ifndef WARM_WARM_ENVIRONMENT_H
#define WARM_WARM_ENVIRONMENT_H

#include "base/compiler.h"

#include <stddef.h>

/* A copy, which also lacks the variables that only this process reads
 * (LISTEN_FDS, ...), with n more at its end. */
CHECK_RESULT char **warm_environment_new(char *const *environment,
                                         char *const *more, size_t n);

#endif
