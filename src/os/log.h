/*
 * log.h - the log of the process
 *
 * What:      one write(2) to fd 2 for each line or JSON object, with control
 *            characters escaped. Lines about a request that must reach the web
 *            server go through request_log() (gateway/request.h) instead.
 * Threads:   any; functions that set something: at start only.
 * GIL:       not used, and not released.
 * Errors:    none: a line that cannot be written is lost.
 * Blocks:    while write(2) on fd 2 does.
 */
#ifndef OS_LOG_H
#define OS_LOG_H

#include "base/buf.h"
#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_MAX
};

/* The maximum for buffers: no line is longer, even if every byte is escaped. */
enum { LOG_LINE_MAX = 100 << 20 };

enum log_form {
    LOG_PLAIN,   /* stderr goes to a server that adds the time itself */
    LOG_STAMPED, /* our own log: with the time, also on output lines */
    LOG_JSON     /* the same as one JSON object per line */
};

/* One line; id, request and more may be NULL. */
struct log_entry {
    enum log_level level;
    const char *id;      /* of a request */
    const char *request; /* "GET /path" */
    const char *text;
    const char *more; /* more lines: a traceback */
    size_t more_len;
};

/* "error", ...; NULL for LOG_LEVEL_MAX. */
const char *log_level_name(enum log_level level);

/* Sets the form, and the last level that is logged. At first they are LOG_PLAIN
 * and info. */
void log_set_up(enum log_form form, enum log_level most);

/* True where lines of this level are logged. */
bool log_wants(enum log_level level);

enum log_form log_own_form(void);

/* True where fd 2 is a log of our own: the output of the application goes
 * there, too, and not to the web server. */
bool log_is_own(void);

void log_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_warning(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_notice(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_info(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_debug(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Logs an entry with all its members, of any level: see log_wants(). */
void log_entry(const struct log_entry *entry);

/* Adds the text of an entry to out, for lines that do not go to fd 2. On
 * failure out is unchanged. */
CHECK_RESULT int log_format(struct buf *out, enum log_form form,
                            const struct log_entry *e);

/* Writes output of the application to fd 2: unchanged, or in a log of our own
 * as whole lines in the form of ours, with "output" in place of a level, and
 * the id of the request, if there is one. The lines of one call stay together
 * (up to 64 KiB). */
void log_output(const char *id, const char *bytes, size_t n);

/* Lines without an id get the one that fn returns, of the calling thread's
 * request; NULL: it has none. */
void log_set_id(const char *(*fn)(void));

/* Adds lines to copy as well, while it has room; NULL ends that. At start
 * only.  */
void log_copy_to(struct buf *copy);

/* How long this thread waits for the reader of the log before it drops a line.
 * At first it is -1: as long as it takes. A forked child inherits it. */
void log_set_patience(int ms);

/* Sends lines to syslog(3). For servers that make fd 2 the pipe of the response
 * (mini_httpd): lines there would corrupt the head, or reach the client. */
void log_to_syslog(bool yes);

/* Writes bytes unchanged to fd; nothing where it is -1. Goes on after EINTR and
 * partial writes. */
void log_write(int fd, const char *bytes, size_t n);

/* The same to fd 2, or to syslog. */
void log_raw(const char *bytes, size_t n);

#endif
