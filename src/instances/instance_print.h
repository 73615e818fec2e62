/*
 * instance_print.h - --warm-list: prints the warm instances of this user
 *
 * What:      a table with a line of names, or JSON with --json.
 * Owner:     main(), instead of serving.
 * Threads:   one.                                                GIL: not used.
 * Errors:    EX_OK, EX_OSERR or EX_IOERR after a log line.
 * Blocks:    up to --timeout for each instance that does not answer.
 */
#ifndef INSTANCES_INSTANCE_PRINT_H
#define INSTANCES_INSTANCE_PRINT_H

#include "base/compiler.h"
#include "conf/config.h"

CHECK_RESULT int instance_print(const struct config *config);

#endif
