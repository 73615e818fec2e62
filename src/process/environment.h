/*
 * environment.h - --env: variables of the process
 *
 * What:      sets the variables of --env, which Python, the application and its
 *            child processes see, and remembers what the environment was before.
 * Owner:     the process.
 * Lifetime:  the process.
 * Threads:   start only, before Python.                          GIL: not used.
 * Errors:    a code of <sysexits.h>, after one log line.         Blocks: never.
 */
#ifndef PROCESS_ENVIRONMENT_H
#define PROCESS_ENVIRONMENT_H

#include "base/compiler.h"
#include "conf/config.h"

/* Sets the variables. Calling it again sets them again. 0 or EX_OSERR. */
CHECK_RESULT int environment_set(const struct config *config);

/* The environment without --env: the variables of a CGI request, and what the
 * program is executed with again. Valid as long as the strings that the kernel
 * has put behind argv: until a title for ps(1) takes their place. */
char **environment_before(void);

#endif
