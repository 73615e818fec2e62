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
#include <stdint.h>

/* To be called before the instance n starts. */
void warm_sweep(const struct warm_folder *f, const struct warm_name *n);

/* The same. An instance of this very name may live, which nobody can reach any
 * more: it finishes its requests, or its socket was removed by a program that
 * cleans /tmp. Its other files get another name, so that the new one can have
 * theirs. */
void warm_sweep_set_aside(const struct warm_folder *f,
                          const struct warm_name *n);

/* True where the file exists and was changed in the last seconds. A time in the
 * future says nothing: the clock was set. */
CHECK_RESULT bool warm_sweep_is_new(const struct warm_folder *f,
                                    const struct warm_name *n, const char *end,
                                    int64_t seconds);

/* True where the file exists. */
CHECK_RESULT bool warm_sweep_is_there(const struct warm_folder *f,
                                      const struct warm_name *n,
                                      const char *end);

/* Asks an instance to finish its requests and end. Its socket goes at once, so
 * that nobody connects any more, and nobody asks again: a second SIGTERM would
 * cut off its requests. 0; -EALREADY: it is finishing; -ESRCH: it has ended, and
 * its files are gone; or -errno. */
CHECK_RESULT int warm_sweep_stop(const struct warm_folder *f,
                                 const struct warm_name *n);

/* Removes its files. */
void warm_sweep_remove(const struct warm_folder *f, const struct warm_name *n);

#endif
