/*
 * log.h - the process's own log lines
 *
 * What:      "wsgi-cgi[PID]: LEVEL: text" on fd 2, one write(2) a line, control
 *            characters escaped. Lines about one request that must reach the web
 *            server go through request_log() (gateway/request.h) instead.
 * Threads:   any.                                         GIL: neither needed
 *            nor released.
 * Errors:    none: a log line that cannot be written is lost.
 * Blocks:    as long as write(2) on fd 2 does.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/buf.h"
#include "base/compiler.h"

#include <stddef.h>

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO
};

void log_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_warning(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_notice(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_info(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Adds one complete line, newline included, to out: what the functions above
 * write. For lines that go elsewhere than fd 2. */
CHECK_RESULT int log_format(struct buf *out, enum log_level level,
                            const char *text);

/* In a process that serves one request (CGI) every line carries its id: text is
 * what fn returns, asked for with the first line. */
void log_set_prefix(const char *(*fn)(void));

/* Lines are added to copy as well, where there is room; NULL ends that. Start
 * only. */
void log_copy_to(struct buf *copy);

/* This thread would rather lose a line than wait for whoever reads fd 2. */
void log_be_impatient(void);

/* From here on lines go to syslog(3): where fd 2 is the response's own pipe (mini_httpd),
 * they would destroy the head or be read by the client. Start only. */
void log_to_syslog(void);

/* Writes bytes as they are to fd 2: whole lines made by log_format(), or what
 * the application wrote to wsgi.errors. Retries EINTR and partial writes. */
void log_raw(const char *bytes, size_t n);

#endif
