/*
 * instance_stop.h - --warm-stop: ends warm instances of this user
 *
 * What:      asks them to finish their requests and end, and waits until they
 *            have ended. Prints a line for each.
 * Owner:     main(), instead of serving.
 * Threads:   one.                                                GIL: not used.
 * Errors:    EX_OK; EX_OSERR, or EX_UNAVAILABLE (there is none, or one has not
 *            ended) after a log line.
 * Blocks:    up to --timeout until they have ended; before that up to --timeout
 *            for each that does not answer.
 */
#ifndef INSTANCES_INSTANCE_STOP_H
#define INSTANCES_INSTANCE_STOP_H

#include "base/compiler.h"
#include "conf/config.h"

CHECK_RESULT int instance_stop(const struct config *config);

#endif
