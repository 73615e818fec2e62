/*
 * migrate.h - open connections on their way from one process to another
 *
 * What:      a pair of sockets that carries descriptors. All workers of a master
 *            hold both ends: one that leaves sends its idle connections, a busy one
 *            those on which a request waits; whoever is woken receives.
 * Owner:     the master makes it; every worker inherits it.
 * Threads:   any.                                                GIL: not used.
 * Errors:    0 or -errno; logs nothing.                          Blocks: never.
 */
#ifndef NET_MIGRATE_H
#define NET_MIGRATE_H

#include "base/compiler.h"

#include <stdbool.h>

struct migrate {
    int send_fd, receive_fd; /* -1 = none */
};

CHECK_RESULT int migrate_open(struct migrate *m);
void migrate_close(struct migrate *m);

/* kept: the connection has carried a request. The caller closes its own fd.
 * -EAGAIN: too many are on their way. */
CHECK_RESULT int migrate_send(const struct migrate *m, int fd, bool kept);

bool migrate_has_room(const struct migrate *m);

/* Somebody else is woken: whoever has been cannot receive what is there. */
void migrate_wake_another(const struct migrate *m);

/* A descriptor, CLOEXEC; -EAGAIN where there is none. -EMFILE: one is lost, as
 * the process had no number for it (spare.h). */
CHECK_RESULT int migrate_receive(const struct migrate *m, bool *ret_kept);

#endif
