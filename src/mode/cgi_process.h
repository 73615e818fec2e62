/*
 * cgi_process.h - a process that answers the one request of its environment
 *
 * What:      from the options to the exit code; whatever fails on the way, the
 *            client gets a page.
 * Owner:     main().
 * Threads:   the main thread.                                    GIL: not held.
 * Errors:    the exit code: the response's, or a sysexits code after a log line.
 * Blocks:    until the request, and the work after it, are done.
 */
#ifndef MODE_CGI_PROCESS_H
#define MODE_CGI_PROCESS_H

#include "base/compiler.h"
#include "conf/config.h"
#include "doctor/doctor.h"
#include "mode/start_mode.h"

/* doctor: --doctor, its page is the response; or NULL. */
CHECK_RESULT int cgi_process_run(const struct config *config,
                                 const struct start_mode *s,
                                 struct doctor_facts *doctor);

#endif
