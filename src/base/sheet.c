#include "base/sheet.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void
sheet_add(struct sheet *s, const char *bytes, size_t n)
{
    if (s->err == 0) {
        s->err = buf_add(s->out, bytes, n);
    }
}

void
sheet_text(struct sheet *s, const char *text)
{
    sheet_add(s, text, strlen(text));
}

void
sheet_printf(struct sheet *s, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sheet_text(s, text);
}

void
sheet_html(struct sheet *s, const char *text)
{
    size_t n = strlen(text);

    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)text[i];
        size_t len = utf8_char(text + i, n - i);
        if (len == 0 || c < 0x20 || c == 0x7f) {
            sheet_text(s, "&#xfffd;");
            len = 1;
        }
        else if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'') {
            sheet_printf(s, "&#%u;", c);
        }
        else {
            sheet_add(s, text + i, len);
        }
        i += len;
    }
}
