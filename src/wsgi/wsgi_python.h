/*
 * wsgi_python.h - starts Python for WSGI
 *
 * What:      what a process does for WSGI before and between requests: start
 *            the interpreter (python/interp.h) with the module _wsgi_cgi, the
 *            log streams and sys.path in place.
 * Owner:     the process; once.
 * Lifetime:  wsgi_python_start() to interp_finish().
 * Threads:   the main thread.
 * GIL:       not held by the caller; taken and released inside. No data is
 *            shared.
 * Errors:    see each function.
 * Blocks:    file system, imports.
 */
#ifndef WSGI_WSGI_PYTHON_H
#define WSGI_WSGI_PYTHON_H

#include "base/compiler.h"
#include "conf/config.h"

/* Starts Python with what requests and the application need: the module
 * _wsgi_cgi, sys.stdout and sys.stderr as ErrorStreams, the application's
 * folder in sys.path. Call it after loader_prepare(). 0, or EX_SOFTWARE after a
 * log line. */
CHECK_RESULT int wsgi_python_start(const struct config *config);

/* Imports what a request that fails needs, so that the first such request does
 * not have to. Call it after the application has been loaded, in processes that
 * serve many requests. */
void wsgi_python_warm_up(void);

/* Sends the line that this thread has begun to print. For python_fork_begin(),
 * which holds the GIL. */
void wsgi_python_flush_line(void);

#endif
