#include "text/html.h"

#include "page_css.h"
#include "text/utf8.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { PIECE = 16 }; /* what replaces one byte */

/* What replaces the character of len bytes (0: not UTF-8) that begins with c;
 * NULL: the character itself. */
static const char *
replacement(unsigned char c, size_t len, bool keep_lines, char piece[PIECE])
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        break;
    }
    if ((len > 0 && c >= 0x20 && c != 0x7f) ||
        (keep_lines && (c == '\n' || c == '\t'))) {
        return NULL;
    }
    if (!keep_lines) {
        return "&#xfffd;";
    }
    (void)snprintf(piece, PIECE, "\\x%02x", c);
    return piece;
}

static void
escape(struct text_writer *w, const char *s, size_t n, bool keep_lines)
{
    char piece[PIECE];
    size_t from = 0, len;

    for (size_t i = 0; i < n; i += len) {
        len = utf8_char(s + i, n - i);
        assert(len <= n - i);
        const char *other =
            replacement((unsigned char)s[i], len, keep_lines, piece);
        len = len == 0 ? 1 : len;
        if (other != NULL) {
            assert(len == 1); /* only ASCII is replaced, and single bytes */
            text_writer_add(w, s + from, i - from);
            text_writer_text(w, other);
            from = i + len;
        }
    }
    text_writer_add(w, s + from, n - from);
}

void
html_line(struct text_writer *w, const char *text)
{
    escape(w, text, strlen(text), false);
}

void
html_lines(struct text_writer *w, const char *text, size_t n)
{
    escape(w, text, n, true);
}

void
html_begin(struct text_writer *w, int refresh_s)
{
    assert(refresh_s >= 0);
    text_writer_text(w, "<!DOCTYPE html>\n<html lang=en><head>"
                        "<meta charset=utf-8><meta name=viewport "
                        "content=\"width=device-width,initial-scale=1\">"
                        "<meta name=robots content=noindex>");
    if (refresh_s > 0) {
        text_writer_printf(w, "<meta http-equiv=refresh content=%d>",
                           refresh_s);
    }
    text_writer_text(w, "<title>");
}

void
html_begin_body(struct text_writer *w, const char *page)
{
    text_writer_text(w, "</title><style>");
    text_writer_text(w, page_css);
    text_writer_printf(w, "</style></head>\n<body class=%s>", page);
}
