/*
 * instance_explain.h - whether a CGI request would be warm, and if not, why
 *
 * What:      one sentence for --explain, --check and --doctor. Starts no
 *            instance and creates no folder.
 * Owner:     the caller has the memory.
 * Threads:   one.                                                GIL: not used.
 * Errors:    they are in the sentence; logs nothing.
 * Blocks:    on the file system, and as warm_connect().
 */
#ifndef INSTANCES_INSTANCE_EXPLAIN_H
#define INSTANCES_INSTANCE_EXPLAIN_H

#include "conf/config.h"
#include "warm/warm_folder.h"

enum { INSTANCE_TEXT_SIZE = WARM_WHY_SIZE + 64 };

/* config has --keep-warm. "yes, instance PID on PATH", "the first request starts
 * an instance in FOLDER" or "no: REASON". mode: how the process was started;
 * MODE_AUTO counts as CGI. */
void instance_explain(const struct config *config, enum config_mode mode,
                      char **argv, char to[INSTANCE_TEXT_SIZE]);

#endif
