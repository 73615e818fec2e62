/*
 * warm_sweep.h - what other instances have left in the folder
 *
 * What:      asks older versions of an instance to finish, and removes the files
 *            of those that were killed.
 * Owner:     the caller holds the lock of the folder.
 * Threads:   one.                                                GIL: not used.
 * Errors:    none: what cannot be removed stays.
 * Blocks:    on the file system.
 */
#ifndef WARM_WARM_SWEEP_H
#define WARM_WARM_SWEEP_H

#include "base/compiler.h"
#include "warm/warm_folder.h"
#include "warm/warm_name.h"

#include <stdbool.h>

/* To be called before the instance n starts. */
void warm_sweep(const struct warm_folder *f, const struct warm_name *n);

/* Asks an instance to finish its requests and end. Its socket goes at once, so
 * that nobody connects any more, and nobody asks again: a second SIGTERM would
 * cut off its requests. 0; -EALREADY: it is finishing; -ESRCH: it has ended, and
 * its files are gone; or -errno. */
CHECK_RESULT int warm_sweep_stop(const struct warm_folder *f,
                                 const struct warm_name *n);

/* Removes its files. */
void warm_sweep_remove(const struct warm_folder *f, const struct warm_name *n);

#endif
