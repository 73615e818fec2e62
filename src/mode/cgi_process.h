/*
 * cgi_process.h - a process that answers one CGI request
 *
 * What:      all from the options to the exit code. If something fails, the
 *            client gets an error page.
 * Owner:     main().
 * Lifetime:  the process.
 * Threads:   the main thread.                                    GIL: not held.
 * Errors:    the exit code: the response's, or a sysexits code after a log
 *            line.
 * Blocks:    until the request and the work after it have ended.
 * Standards: RFC 3875.
 */
#ifndef MODE_CGI_PROCESS_H
#define MODE_CGI_PROCESS_H

#include "base/compiler.h"
#include "conf/config.h"
#include "doctor/doctor.h"
#include "mode/start_mode.h"

/* doctor: with --doctor, the facts for its page, which is the response; or
 * NULL. */
CHECK_RESULT int cgi_process_run(const struct config *config,
                                 const struct start_mode *s, char **argv,
                                 struct doctor_facts *doctor);

#endif
