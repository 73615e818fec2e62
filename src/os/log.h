/*
 * log.h - the process's own log lines
 *
 * What:      one write(2) to fd 2 for each line or JSON object, control characters
 *            escaped. Lines about one request that must reach the web server go
 *            through request_log() (gateway/request.h) instead.
 * Threads:   any; log_set_up() and the like at start only.    GIL: neither needed
 *            nor released.
 * Errors:    none: a log line that cannot be written is lost.
 * Blocks:    as long as write(2) on fd 2 does.
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

/* No line is longer: texts are cut, and then every byte escaped. For buffers. */
enum { LOG_LINE_MAX = 100 << 20 };

enum log_form {
    LOG_PLAIN,   /* for whoever reads our stderr and stamps its lines itself */
    LOG_STAMPED, /* a log of our own: the time, and ids also on output lines */
    LOG_JSON     /* the same as one JSON object a line */
};

/* One line; id, request and more may be NULL. */
struct log_entry {
    enum log_level level;
    const char *id;      /* of a request */
    const char *request; /* "GET /path" */
    const char *text;
    const char *more; /* lines that belong to it: a traceback */
    size_t more_len;
};

/* "error" ...; NULL at LOG_LEVEL_MAX. */
const char *log_level_name(enum log_level level);

/* What fd 2 gets: the form, and levels up to most. Before: LOG_PLAIN, info. */
void log_set_up(enum log_form form, enum log_level most);

/* False where a line of this level would be dropped. */
bool log_wants(enum log_level level);

enum log_form log_own_form(void);

/* True where fd 2 is a log of our own: what the application prints belongs there
 * too, and not into the web server's. */
bool log_is_own(void);

void log_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_warning(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_notice(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_info(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_debug(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* The same with all that an entry can say; its level has been looked at. */
void log_entry(const struct log_entry *entry);

/* Adds what log_entry() writes, in that form, to out: for lines that go elsewhere
 * than fd 2. On failure out is as before. */
CHECK_RESULT int log_format(struct buf *out, enum log_form form,
                            const struct log_entry *e);

/* What the application printed, to fd 2: as it is, or in a log of our own in
 * whole lines under the id of the request, if there is one. */
void log_output(const char *id, const char *bytes, size_t n);

/* From here on lines without an id ask fn for that of the calling thread's
 * request; NULL = it has none. */
void log_set_id(const char *(*fn)(void));

/* Lines are added to copy as well, where there is room; NULL ends that. Start
 * only. */
void log_copy_to(struct buf *copy);

/* How long this thread waits for whoever reads the log, before it rather loses a
 * line; -1 = as long as it takes, as at first. A fork() inherits it. */
void log_set_patience(int ms);

/* Lines go to syslog(3): where fd 2 is the response's own pipe (mini_httpd), they
 * would destroy the head or be read by the client. */
void log_to_syslog(bool yes);

/* Writes bytes as they are to the file or pipe. Retries EINTR and partial writes;
 * -1: to nowhere. */
void log_write(int fd, const char *bytes, size_t n);

/* The same to fd 2, or whatever log_to_syslog() has put in its place. */
void log_raw(const char *bytes, size_t n);

#endif
