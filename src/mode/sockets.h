/*
 * sockets.h - all that a FastCGI process listens on, and who may connect
 *
 * What:      from --bind, LISTEN_FDS or descriptor 0, or from the run of the
 *            program before this one; --allow.
 * Owner:     fcgi_process.c; its workers borrow them.
 * Threads:   at start and end only.                              GIL: not used.
 * Errors:    a sysexits code after a log line.     Blocks: on the file system.
 */
#ifndef MODE_SOCKETS_H
#define MODE_SOCKETS_H

#include "base/compiler.h"
#include "conf/config.h"
#include "mode/start_mode.h"
#include "net/acl.h"
#include "net/listener.h"
#include "reload/restart.h"

#include <stddef.h>

struct sockets {
    struct listener v[RESTART_LISTENERS_MAX];
    size_t n;
    struct acl allow;
};

/* s starts as zeroes; after a failure it holds what was open by then. */
CHECK_RESULT int sockets_open(struct sockets *s, const struct config *config,
                              const struct start_mode *start,
                              const struct restart_fds *inherited);

/* Closes, and removes what was made. */
void sockets_close(struct sockets *s);

/* Frees what is only memory. */
void sockets_fini(struct sockets *s);

#endif
