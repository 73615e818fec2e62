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

#include <stdbool.h>

enum { WARM_BUSY_MS = 250 };

/* True where no worker is free and none starts. */
CHECK_RESULT bool warm_busy(const struct warm_folder *f,
                            const struct warm_name *n);

#endif
