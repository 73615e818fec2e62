/*
 * fcgi_process.h - a process that serves FastCGI, on its own or with workers
 *
 * What:      from the options to the exit code: sockets, privileges, the
 *            application, the request threads, the end or the restart.
 * Owner:     main().
 * Threads:   the main thread; it returns in every worker, too.    GIL: not held.
 * Errors:    the exit code: a sysexits code after a log line.
 * Blocks:    until asked to stop.
 */
#ifndef MODE_FCGI_PROCESS_H
#define MODE_FCGI_PROCESS_H

#include "base/compiler.h"
#include "conf/config.h"
#include "doctor/doctor.h"
#include "mode/start_mode.h"

/* argv: what to execute again. doctor: --doctor, its page is every response; or
 * NULL. */
CHECK_RESULT int fcgi_process_run(const struct config *config,
                                  const struct start_mode *s, char **argv,
                                  const struct doctor_facts *doctor);

#endif
