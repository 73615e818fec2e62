/*
 * text_writer.c - writes a page into a buffer
 */
#include "text/text_writer.h"

#include "text/utf8.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void
text_writer_add(struct text_writer *s, const char *bytes, size_t n)
{
    if (s->err == 0) {
        s->err = buf_add(s->out, bytes, n);
    }
}

void
text_writer_text(struct text_writer *s, const char *text)
{
    text_writer_add(s, text, strlen(text));
}

void
text_writer_safe(struct text_writer *s, const char *text)
{
    size_t n = strlen(text);

    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)text[i];
        size_t len = utf8_char(text + i, n - i);
        /* U+0080 to U+009F are control characters, too. */
        bool is_plain = len > 0 && c >= 0x20 && c != 0x7f &&
                        (c != 0xc2 || (unsigned char)text[i + 1] >= 0xa0);
        len = len == 0 ? 1 : len;
        if (is_plain) {
            text_writer_add(s, text + i, len);
        }
        else {
            text_writer_text(s, "?");
        }
        i += len;
    }
}

void
text_writer_printf(struct text_writer *s, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    assert(n >= 0 && (size_t)n < sizeof text);
    (void)n;
    text_writer_text(s, text);
}
