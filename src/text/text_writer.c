/*
 * text_writer.c - writes a page into a buffer
 */
#include "text/text_writer.h"

#include <assert.h>
#include <stdarg.h>
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
