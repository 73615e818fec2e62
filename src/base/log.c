/*
 * log.c - the process's own log lines
 */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

enum {
    LOG_SHORT = 512,                  /* most lines: no memory is taken */
    LOG_TEXT_MAX = 256 * 1024,        /* longer texts are cut, and say so */
    LOG_LINE_MAX = 1024 * 1024 + 256, /* every byte of a text escaped */
};

static const char *
level_name(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR:
        return "error";
    case LOG_LEVEL_WARNING:
        return "warning";
    case LOG_LEVEL_NOTICE:
        return "notice";
    case LOG_LEVEL_INFO:
        return "info";
    }
    return "?";
}

/* How many bytes at s are one control character: 0 is none. The C1 controls
 * count in their UTF-8 form, since terminals obey them there too. */
static size_t
control_length(const unsigned char *s)
{
    if (s[0] < 0x20 || s[0] == 0x7f) {
        return 1;
    }
    return s[0] == 0xc2 && s[1] >= 0x80 && s[1] <= 0x9f ? 2 : 0;
}

static int
add_escaped(struct buf *out, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    while (*s != '\0') {
        const unsigned char *plain = s;
        while (*s != '\0' && control_length(s) == 0) {
            s++;
        }
        int r = buf_add(out, plain, (size_t)(s - plain));
        if (r < 0) {
            return r;
        }
        for (size_t n = *s == '\0' ? 0 : control_length(s); n > 0; n--) {
            r = buf_printf(out, "\\x%02x", *s++);
            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}

int
log_format(struct buf *out, enum log_level level, const char *text)
{
    size_t before = out->len;
    int r = buf_printf(out, "wsgi-cgi[%ld]: %s: ", (long)getpid(),
                       level_name(level));
    if (r == 0) {
        r = add_escaped(out, text);
    }
    if (r == 0) {
        r = buf_add(out, "\n", 1);
    }
    if (r < 0) {
        out->len = before; /* no half lines */
    }
    return r;
}

static bool is_syslog;

void
log_to_syslog(void)
{
    openlog("wsgi-cgi", LOG_PID, LOG_DAEMON);
    is_syslog = true;
}

/* One message a line. */
static void
syslog_lines(const char *bytes, size_t n)
{
    while (n > 0) {
        const char *nl = memchr(bytes, '\n', n);
        size_t line = nl == NULL ? n : (size_t)(nl - bytes);
        if (line > 0) {
            syslog(LOG_ERR, "%.*s", (int)line, bytes);
        }
        line += nl != NULL;
        bytes += line;
        n -= line;
    }
}

static _Thread_local bool impatient;

void
log_be_impatient(void)
{
    impatient = true;
}

/* A full pipe whose reader is stuck must not stop the thread that ends us. */
static bool
would_wait(void)
{
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};

    return impatient && poll(&p, 1, 0) <= 0;
}

void
log_raw(const char *bytes, size_t n)
{
    int saved = errno;
    if (is_syslog) {
        syslog_lines(bytes, n);
        errno = saved;
        return;
    }
    while (n > 0 && !would_wait()) {
        ssize_t written = write(STDERR_FILENO, bytes, n);
        if (written >= 0) {
            bytes += written;
            n -= (size_t)written;
        }
        else if (errno == EAGAIN) {
            /* Inherited as non-blocking: whoever shares it wanted that, we
             * want our line. */
            struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
            (void)poll(&p, 1, -1);
        }
        else if (errno != EINTR) {
            break;
        }
    }
    errno = saved;
}

static void write_line(enum log_level level, const char *fmt, va_list ap)
    PRINTF_LIKE(2, 0);

static const char *(*prefix_fn)(void);

void
log_set_prefix(const char *(*fn)(void))
{
    prefix_fn = fn;
}

static struct buf *copy_to;

void
log_copy_to(struct buf *copy)
{
    copy_to = copy;
}

/* The text with the prefix in front, in out; else the text alone. */
static const char *
with_prefix(struct buf *out, const char *text)
{
    if (prefix_fn == NULL || buf_add_str(out, prefix_fn()) < 0 ||
        buf_add_str(out, text) < 0 || buf_add(out, "", 1) < 0) {
        return text;
    }
    return out->data;
}

static void
write_line(enum log_level level, const char *fmt, va_list ap)
{
    int saved = errno;
    char small[LOG_SHORT];
    char *text = small;
    char *large = NULL;

    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof(small), fmt, ap);
    if (n >= (int)sizeof(small)) {
        errno = saved; /* for %m */
        if (vasprintf(&large, fmt, again) >= 0) {
            text = large;
            if (n > LOG_TEXT_MAX) {
                memcpy(text + LOG_TEXT_MAX - 4, " ...", sizeof(" ..."));
            }
        }
        else {
            large = NULL; /* out of memory: the beginning has to do */
        }
    }
    va_end(again);

    if (copy_to != NULL && n >= 0 && buf_add_str(copy_to, text) == 0 &&
        buf_add(copy_to, "\n", 1) < 0) {
        copy_to = NULL; /* full */
    }
    struct buf line, prefixed;
    buf_init(&line, LOG_LINE_MAX);
    buf_init(&prefixed, LOG_LINE_MAX);
    if (n >= 0 && log_format(&line, level, with_prefix(&prefixed, text)) == 0) {
        log_raw(line.data, line.len);
    }
    buf_fini(&line);
    buf_fini(&prefixed);
    free(large);
    errno = saved;
}

#define DEFINE_LOG(NAME, LEVEL)           \
    void log_##NAME(const char *fmt, ...) \
    {                                     \
        va_list ap;                       \
        va_start(ap, fmt);                \
        write_line((LEVEL), fmt, ap);     \
        va_end(ap);                       \
    }

DEFINE_LOG(error, LOG_LEVEL_ERROR)
DEFINE_LOG(warning, LOG_LEVEL_WARNING)
DEFINE_LOG(notice, LOG_LEVEL_NOTICE)
DEFINE_LOG(info, LOG_LEVEL_INFO)
