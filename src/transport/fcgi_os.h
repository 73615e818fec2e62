/*
 * fcgi_os.h - libfcgi's operating system layer, ours
 *
 * What:      the eight OS_* functions of <fcgios.h> that libfcgi calls. It gets
 *            its input from a feed; it cannot accept, write, close, linger or
 *            catch signals. Nor does it end the process without memory: its
 *            assertions call our __assert_fail(), too.
 * Owner:     the request thread: one feed a thread at a time.
 * Threads:   the feed is thread-local.                           GIL: not used.
 * Errors:    as the feed's.  Blocks: as long as the feed does. Standards:
 *            FastCGI 1.0.
 */
#ifndef TRANSPORT_FCGI_OS_H
#define TRANSPORT_FCGI_OS_H

#include "base/compiler.h"

#include <stddef.h>
#include <sys/types.h>

/* Bytes for libfcgi: > 0, 0 = end, -1 with errno. */
typedef ssize_t (*fcgi_feed_fn)(void *arg, char *to, size_t size);

/* From now on libfcgi in this thread reads from feed; NULL = no input. */
void fcgi_os_attach(fcgi_feed_fn feed, void *arg);

struct FCGX_Request;

/* FCGX_Accept_r(), the only call that needs memory. 0; -EPROTO; or -ENOMEM:
 * then nothing in the request has to be freed. */
CHECK_RESULT int fcgi_os_accept(struct FCGX_Request *fx);

/* Starts libfcgi and runs one request through it to prove that our layer is the
 * one it uses (a shared libfcgi might be linked to its own). 0; -ENOSYS if it
 * does not: refuse FastCGI then; or -ENOMEM. */
CHECK_RESULT int fcgi_os_start(void);

#endif
