/*
 * warm_start.h - starts the instance of a script
 *
 * What:      binds its socket, and executes this program as a FastCGI server on
 *            it: in a session of its own, with a clean environment, and with no
 *            descriptor of the web server. Clients can connect before it has
 *            started. They see that their connection breaks if it does not.
 * Owner:     nobody: the instance ends when nothing has come for --exit-idle.
 * Threads:   one, before Python: it forks.                       GIL: not used.
 * Errors:    -errno with a sentence in why; logs nothing.
 * Blocks:    until execve() has worked or failed; up to a second for the lock.
 */
#ifndef WARM_WARM_START_H
#define WARM_WARM_START_H

#include "base/compiler.h"
#include "conf/config.h"
#include "warm/warm_folder.h"
#include "warm/warm_name.h"

/* A descriptor that is connected to the instance, which is started if there is
 * none. environment: that of the request. n changes where the script has changed
 * meanwhile. */
CHECK_RESULT int warm_start(const struct warm_folder *f, struct warm_name *n,
                            const struct config *config, char **argv,
                            char *const *environment, char why[WARM_WHY_SIZE]);

#endif
