/*
 * fcgi_os.h - libfcgi's operating system layer, ours
 *
 * What:      the eight OS_* functions of <fcgios.h> that libfcgi calls. It gets
 *            its input from a feed; it can no longer accept, write, close,
 *            linger or catch signals. Nor does it end the process where there is
 *            no memory: its assertions go through us, too.
 * Owner:     the request thread: one feed a thread at a time.
 * Threads:   the feed is thread-local.                           GIL: not used.
 * Errors:    as the feed's.                     Blocks: as long as the feed does.
 * Standards: FastCGI 1.0.
 */
#ifndef TRANSPORT_FCGI_OS_H
#define TRANSPORT_FCGI_OS_H

#include "base/compiler.h"

#include <stddef.h>
#include <sys/types.h>

/* Bytes for libfcgi: > 0, 0 = end, -1 with errno. */
typedef ssize_t (*fcgi_feed_fn)(void *arg, char *to, size_t size);

/* From now on this thread's libfcgi reads from feed; NULL = nothing to read. */
void fcgi_os_attach(fcgi_feed_fn feed, void *arg);

struct FCGX_Request;

/* FCGX_Accept_r(), the one call that needs memory. 0; -EPROTO; -ENOMEM, with
 * nothing in the request that would have to be freed. */
CHECK_RESULT int fcgi_os_accept(struct FCGX_Request *fx);

/* Starts libfcgi and runs one request through it to prove that our layer is the
 * one it uses (a shared libfcgi might have been linked to its own). 0; -ENOSYS
 * where it does not: FastCGI must then be refused; or -ENOMEM. */
CHECK_RESULT int fcgi_os_start(void);

#endif
