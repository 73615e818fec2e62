/*
 * warm_busy.h - whether an instance takes no more requests for now
 *
 * What:      reads the status page of its control socket.
 * Owner:     the caller.
 * Threads:   one.                                                GIL: not used.
 * Errors:    none: an instance that does not answer is busy. Logs nothing.
 * Blocks:    up to WARM_BUSY_MS.
 */
#ifndef WARM_WARM_BUSY_H
#define WARM_WARM_BUSY_H

#include "base/compiler.h"
#include "warm/warm_folder.h"
#include "warm/warm_name.h"

enum { WARM_BUSY_MS = 1000 };

enum warm_busy {
    WARM_TAKES_MORE,
    WARM_IS_STARTING, /* it has no control socket yet, or no worker */
    WARM_IS_BUSY      /* no worker is free, and none starts */
};

CHECK_RESULT enum warm_busy warm_busy(const struct warm_folder *f,
                                      const struct warm_name *n);

#endif
