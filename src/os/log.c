/*
 * log.c - the log of the process
 */
#include "os/log.h"

#include "base/clock.h"
#include "text/json.h"
#include "text/utf8.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

enum {
    LOG_SHORT = 512,            /* longer lines need an allocation */
    LOG_TEXT_MAX = 256 * 1024,  /* longer texts are cut, and end in " ..." */
    LOG_MORE_MAX = 1024 * 1024, /* of a traceback; each line gets the id */
    OUTPUT_PIECE = 64 * 1024    /* of the application's output, in one write */
};

/* Set at start, before there are threads. */
static enum log_form own_form = LOG_PLAIN;
static enum log_level own_most = LOG_LEVEL_INFO;
static const char *(*id_fn)(void);

const char *
log_level_name(enum log_level level)
{
    static const char *const names[] = {
        [LOG_LEVEL_ERROR] = "error",   [LOG_LEVEL_WARNING] = "warning",
        [LOG_LEVEL_NOTICE] = "notice", [LOG_LEVEL_INFO] = "info",
        [LOG_LEVEL_DEBUG] = "debug",   [LOG_LEVEL_MAX] = NULL};

    assert(level <= LOG_LEVEL_MAX);
    return names[level];
}

void
log_set_up(enum log_form form, enum log_level most)
{
    own_form = form;
    own_most = most;
}

bool
log_wants(enum log_level level)
{
    return level <= own_most;
}

enum log_form
log_own_form(void)
{
    return own_form;
}

bool
log_is_own(void)
{
    return own_form != LOG_PLAIN;
}

void
log_set_id(const char *(*fn)(void))
{
    id_fn = fn;
}

/* -- forms ----------------------------------------------------------------- */

/* Returns the length of the character at s, if it needs no escape; else 0, and
 * *ret_bad bytes need one. C1 control characters do, since terminals obey them
 * in UTF-8 as well. */
static size_t
plain_char(const char *s, size_t n, bool is_tab_plain, size_t *ret_bad)
{
    unsigned char c = (unsigned char)s[0];
    size_t len = utf8_char(s, n);

    *ret_bad = len > 0 ? len : 1;
    if (c < 0x20 || c == 0x7f) {
        return c == '\t' && is_tab_plain ? 1 : 0;
    }
    return len == 2 && c == 0xc2 && (unsigned char)s[1] < 0xa0 ? 0 : len;
}

static int
add_escaped(struct buf *out, const char *s, size_t n, bool is_tab_plain)
{
    size_t from = 0; /* start of the plain text that is not added yet */
    int e = 0;

    for (size_t i = 0; e == 0 && i < n;) {
        size_t bad;
        size_t len = plain_char(s + i, n - i, is_tab_plain, &bad);
        if (len > 0) {
            i += len;
            continue;
        }
        e = buf_add(out, s + from, i - from);
        for (; e == 0 && bad > 0; bad--) {
            e = buf_printf(out, "\\x%02x", (unsigned char)s[i++]);
        }
        from = i;
    }
    return e == 0 ? buf_add(out, s + from, n - from) : e;
}

/* The length of the line at s, without its "\n"; *ret_step is with it. */
static size_t
line_length(const char *s, size_t n, size_t *ret_step)
{
    const char *nl = memchr(s, '\n', n);
    size_t len = nl == NULL ? n : (size_t)(nl - s);

    *ret_step = len + (nl != NULL);
    return len;
}

static int
add_id(struct buf *out, const char *id)
{
    return id == NULL ? 0 : buf_printf(out, "[%s] ", id);
}

/* Adds lines, each with head and the id before it. escape: control characters,
 * too. */
static int
add_lines(struct buf *out, const char *head, const char *id, const char *s,
          size_t n, bool escape)
{
    size_t step;
    int e = 0;

    for (; e == 0 && n > 0; s += step, n -= step) {
        size_t len = line_length(s, n, &step);
        if ((e = buf_add_str(out, head)) == 0 && (e = add_id(out, id)) == 0) {
            e = escape ? add_escaped(out, s, len, true) : buf_add(out, s, len);
        }
        if (e == 0) {
            e = buf_add(out, "\n", 1);
        }
    }
    return e;
}

static int
format_text(struct buf *out, bool stamped, const struct log_entry *e)
{
    char stamp[CLOCK_STAMP_SIZE];
    int r = 0;

    if (stamped) {
        clock_stamp(stamp);
        r = buf_printf(out, "%s ", stamp);
    }
    if (r == 0) {
        r = buf_printf(out, "wsgi-cgi[%ld]: %s: ", (long)getpid(),
                       log_level_name(e->level));
    }
    if (r == 0) {
        r = add_id(out, e->id);
    }
    if (r == 0 && e->request != NULL) {
        r = add_escaped(out, e->request, strlen(e->request), false);
        if (r == 0) {
            r = buf_add_str(out, ": ");
        }
    }
    if (r == 0) {
        r = add_escaped(out, e->text, strlen(e->text), false);
    }
    if (r == 0) {
        r = buf_add(out, "\n", 1);
    }
    return r == 0 ? add_lines(out, "", e->id, e->more, e->more_len, true) : r;
}

static size_t
length_of(const char *text)
{
    return text == NULL ? 0 : strlen(text);
}

/* Adds the members that every object starts with. */
static int
begin_json(struct buf *out, const char *what, const char *value, const char *id)
{
    char stamp[CLOCK_STAMP_SIZE];

    clock_stamp(stamp);
    int r = buf_printf(out, "{\"time\":\"%s\",\"%s\":\"%s\",\"pid\":%ld", stamp,
                       what, value, (long)getpid());
    return r == 0 ? json_add_member(out, "request_id", id, length_of(id)) : r;
}

static int
format_json(struct buf *out, const struct log_entry *e)
{
    int r = begin_json(out, "level", log_level_name(e->level), e->id);

    if (r == 0) {
        r = json_add_member(out, "request", e->request, length_of(e->request));
    }
    if (r == 0) {
        r = json_add_member(out, "message", e->text, length_of(e->text));
    }
    if (r == 0) {
        r = json_add_member(out, "traceback", e->more, e->more_len);
    }
    return r == 0 ? buf_add(out, "}\n", 2) : r;
}

int
log_format(struct buf *out, enum log_form form, const struct log_entry *e)
{
    size_t before = out->len;
    struct log_entry cut = *e;

    assert(e->text != NULL && e->level < LOG_LEVEL_MAX);
    if (cut.more_len > LOG_MORE_MAX) {
        cut.more_len = utf8_whole(cut.more, LOG_MORE_MAX);
    }
    int r = form == LOG_JSON ? format_json(out, &cut)
                             : format_text(out, form == LOG_STAMPED, &cut);

    if (r < 0) {
        out->len = before; /* no incomplete lines */
    }
    return r;
}

/* -- writing --------------------------------------------------------------- */

static bool is_syslog; /* set at start */

void
log_to_syslog(bool yes)
{
    if (yes) {
        openlog("wsgi-cgi", LOG_PID, LOG_DAEMON);
    }
    is_syslog = yes;
}

/* Sends each line as a message. */
static void
syslog_lines(const char *bytes, size_t n)
{
    size_t step;

    for (; n > 0; bytes += step, n -= step) {
        size_t line = line_length(bytes, n, &step);
        if (line > 0) {
            syslog(LOG_ERR, "%.*s", (int)line, bytes);
        }
    }
}

static _Thread_local int patience_ms = -1;

void
log_set_patience(int ms)
{
    patience_ms = ms;
}

/* A full pipe whose reader is stuck must not stop the thread that ends the
 * process: see log_set_patience(). */
static bool
would_wait(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    return patience_ms >= 0 && poll(&p, 1, patience_ms) <= 0;
}

void
log_write(int fd, const char *bytes, size_t n)
{
    int saved = errno;

    while (n > 0 && !would_wait(fd)) {
        /* A pipe that poll() calls writable has room for that much. */
        size_t piece = patience_ms >= 0 && n > PIPE_BUF ? PIPE_BUF : n;
        ssize_t written = write(fd, bytes, piece);
        if (written >= 0) {
            bytes += written;
            n -= (size_t)written;
        }
        else if (errno == EAGAIN) {
            /* It was non-blocking when we got it, and others may rely on that:
             * wait here instead. */
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            (void)poll(&p, 1, patience_ms);
        }
        else if (errno != EINTR) {
            break;
        }
    }
    errno = saved;
}

void
log_raw(const char *bytes, size_t n)
{
    if (is_syslog) {
        int saved = errno;
        syslog_lines(bytes, n);
        errno = saved;
        return;
    }
    log_write(STDERR_FILENO, bytes, n);
}

/* -- lines ----------------------------------------------------------------- */

void
log_entry(const struct log_entry *entry)
{
    struct log_entry e = *entry;
    struct buf line;

    if (e.id == NULL && id_fn != NULL) {
        e.id = id_fn();
    }
    buf_init(&line, LOG_LINE_MAX);
    if (log_format(&line, own_form, &e) == 0) {
        log_raw(line.data, line.len);
    }
    buf_fini(&line);
}

static struct buf *copy_to; /* used at start only */

void
log_copy_to(struct buf *copy)
{
    copy_to = copy;
}

static void write_line(enum log_level level, const char *fmt, va_list ap)
    PRINTF_LIKE(2, 0);

static void
write_line(enum log_level level, const char *fmt, va_list ap)
{
    int saved = errno;
    char small[LOG_SHORT];
    char *text = small;
    char *large = NULL;

    if (!log_wants(level)) {
        return;
    }
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
            large = NULL; /* no memory: only the beginning is logged */
        }
    }
    va_end(again);
    if (copy_to != NULL && n >= 0 && buf_add_str(copy_to, text) == 0 &&
        buf_add(copy_to, "\n", 1) < 0) {
        copy_to = NULL; /* full */
    }
    if (n >= 0) {
        log_entry(&(struct log_entry){.level = level, .text = text});
    }
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
DEFINE_LOG(debug, LOG_LEVEL_DEBUG)

/* -- output of the application --------------------------------------------- */

/* As text, each line has the time: nobody can tell where a record begins that
 * traceback.print_exc() writes line by line. The lines of one call have the same
 * time. */
static int
format_output_lines(struct buf *out, const char *id, const char *bytes,
                    size_t n)
{
    char stamp[CLOCK_STAMP_SIZE], head[CLOCK_STAMP_SIZE + 64];

    clock_stamp(stamp);
    (void)snprintf(head, sizeof head, "%s wsgi-cgi[%ld]: output: ", stamp,
                   (long)getpid());
    return add_lines(out, head, id, bytes, n, false);
}

/* As JSON, the bytes of one call become one object, so that the lines of a
 * record of logging stay together. */
static int
format_output(struct buf *out, const char *id, const char *bytes, size_t n)
{
    assert(n > 0);
    if (own_form != LOG_JSON) {
        return format_output_lines(out, id, bytes, n);
    }
    int r = begin_json(out, "stream", "stderr", id);
    if (r == 0) {
        n -= bytes[n - 1] == '\n';
        r = json_add_member(out, "message", bytes, n);
    }
    return r == 0 ? buf_add(out, "}\n", 2) : r;
}

/* The number of bytes for one write: whole lines, or at least whole
 * characters.  */
static size_t
output_piece(const char *bytes, size_t n)
{
    if (n <= OUTPUT_PIECE) {
        return n;
    }
    const char *nl = memrchr(bytes, '\n', OUTPUT_PIECE);
    return nl != NULL ? (size_t)(nl - bytes) + 1
                      : utf8_whole(bytes, OUTPUT_PIECE);
}

void
log_output(const char *id, const char *bytes, size_t n)
{
    struct buf out;

    if (own_form == LOG_PLAIN) {
        log_raw(bytes, n);
        return;
    }
    buf_init(&out, LOG_LINE_MAX);
    while (n > 0) {
        size_t piece = output_piece(bytes, n);
        assert(piece > 0 && piece <= n);
        out.len = 0;
        if (format_output(&out, id, bytes, piece) == 0) {
            log_raw(out.data, out.len);
        }
        else {
            log_raw(bytes, piece); /* no memory: written as it is */
        }
        bytes += piece;
        n -= piece;
    }
    buf_fini(&out);
}
