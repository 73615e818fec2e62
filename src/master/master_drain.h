/*
 * master_drain.h - connections that wait when the last worker has ended
 *
 * What:      a stop may begin where there is no worker (--processes 0-N), or
 *            where those that there are have left the sockets already. Clients
 *            that have connected by then are served by one more worker. None
 *            is reset: a unix socket is shut before the last look at its
 *            queue.
 * Owner:     the master.
 * Threads:   one.                                                GIL: not used.
 * Errors:    logs.                                               Blocks: never.
 */
#ifndef MASTER_MASTER_DRAIN_H
#define MASTER_MASTER_DRAIN_H

#include "base/compiler.h"
#include "master/master_state.h"

#include <stdint.h>

/* In a stop, without any worker. False: nobody waits, and nobody can connect to
 * the unix sockets that we have bound; or their time is over. True: a worker
 * has been forked, or will be in the next round. In that worker it returns with
 * m->role ROLE_WORKER. */
CHECK_RESULT bool master_drain(struct master *m, int64_t now);

#endif
