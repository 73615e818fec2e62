#include "base/text_writer.h"

#include "base/utf8.h"

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
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    text_writer_text(s, text);
}

void
text_writer_html(struct text_writer *s, const char *text)
{
    size_t n = strlen(text);

    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)text[i];
        size_t len = utf8_char(text + i, n - i);
        if (len == 0 || c < 0x20 || c == 0x7f) {
            text_writer_text(s, "&#xfffd;");
            len = 1;
        }
        else if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'') {
            text_writer_printf(s, "&#%u;", c);
        }
        else {
            text_writer_add(s, text + i, len);
        }
        i += len;
    }
}
