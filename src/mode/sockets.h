/*
 * sockets.h - the sockets of a FastCGI process, and who may connect
 *
 * What:      the listening sockets, from --bind, LISTEN_FDS or descriptor 0, or
 *            from before a restart; and --allow.
 * Owner:     fcgi_process.c; its workers borrow them.
 * Lifetime:  the process. Nothing is written after the start.
 * Threads:   only at the start and at the end.                   GIL: not used.
 * Errors:    a sysexits code after a log line.
 * Blocks:    file system.
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

/* *s must be zero. After a failure it has the sockets opened so far. */
CHECK_RESULT int sockets_open(struct sockets *s, const struct config *config,
                              const struct start_mode *start,
                              const struct restart_fds *inherited);

/* Closes the sockets and removes their files. */
void sockets_close(struct sockets *s);

/* Frees --allow. */
void sockets_fini(struct sockets *s);

#endif
