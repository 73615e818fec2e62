/*
 * fcgi_process.h - a process that serves FastCGI, alone or with workers
 *
 * What:      all from the options to the exit code: sockets, privileges, the
 *            application, the request threads, the end or the restart.
 * Owner:     main().
 * Lifetime:  the process.
 * Threads:   the main thread, in the master and in each worker.  GIL: not held.
 * Errors:    the exit code: a sysexits code after a log line.
 * Blocks:    until a signal asks it to stop.
 */
#ifndef MODE_FCGI_PROCESS_H
#define MODE_FCGI_PROCESS_H

#include "base/compiler.h"
#include "conf/config.h"
#include "doctor/doctor.h"
#include "mode/start_mode.h"

/* argv: for a restart. doctor: with --doctor, the facts for its page, which is
 * every response; or NULL. */
CHECK_RESULT int fcgi_process_run(const struct config *config,
                                  const struct start_mode *s, char **argv,
                                  const struct doctor_facts *doctor);

#endif
