#include "doctor/doctor_page.h"

#include "config.h"
#include "text/html.h"
#include "text/utf8.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN_MAX = 1000 }; /* bytes of one value */

/* -- text ------------------------------------------------------------------ */

void
doctor_page_words(struct doctor_page *p, const char *text)
{
    if (p->html) {
        html_line(&p->writer, text);
    }
    else {
        text_writer_text(&p->writer, text);
    }
}

void
doctor_page_bytes(struct doctor_page *p, const char *s, size_t n)
{
    size_t len;

    for (size_t i = 0; i < n && i < SHOWN_MAX; i += len) {
        unsigned char c = (unsigned char)s[i];
        char piece[8];
        len = utf8_char(s + i, n - i);
        /* Terminals obey the C1 control characters, too. */
        if (len == 0 || c < 0x20 || c == 0x7f ||
            (len == 2 && c == 0xc2 && (unsigned char)s[i + 1] < 0xa0)) {
            len = 1;
            (void)snprintf(piece, sizeof piece, "\\x%02x", c);
        }
        else {
            assert(len < sizeof piece);
            memcpy(piece, s + i, len);
            piece[len] = '\0';
        }
        doctor_page_words(p, piece);
    }
    if (n > SHOWN_MAX) {
        text_writer_printf(&p->writer, " ... (%zu bytes)", n);
    }
}

/* -- the frame ------------------------------------------------------------- */

void
doctor_page_begin(struct doctor_page *p, const char *title, bool good)
{
    struct text_writer *w = &p->writer;

    if (!p->html) {
        text_writer_text(w, "wsgi-cgi --doctor: ");
        text_writer_text(w, title);
        text_writer_text(w, "\n");
        return;
    }
    html_begin(w, 0);
    text_writer_text(w, "wsgi-cgi --doctor");
    html_begin_body(w, "doctor");
    text_writer_text(w, "<header><p class=dim>wsgi-cgi --doctor</p>");
    text_writer_printf(w, "<h1 class=%s>", good ? "good" : "bad");
    html_line(w, title);
    text_writer_text(w, "</h1></header>\n<main>");
}

void
doctor_page_end(struct doctor_page *p)
{
    static const char last[] =
        "This page is for the administrator of the server. Remove --doctor "
        "when you have found out what you wanted to know.";

    if (p->html) {
        text_writer_text(&p->writer, "</main>\n<footer><p>");
        html_line(&p->writer, last);
        text_writer_text(&p->writer, "</p>wsgi-cgi " WSGI_CGI_VERSION
                                     "</footer></body></html>\n");
        return;
    }
    text_writer_text(&p->writer, "\n");
    text_writer_text(&p->writer, last);
    text_writer_text(&p->writer, "\n");
}

void
doctor_page_heading(struct doctor_page *p, const char *text)
{
    text_writer_text(&p->writer, p->html ? "<h2>" : "\n== ");
    doctor_page_words(p, text);
    text_writer_text(&p->writer, p->html ? "</h2>\n" : "\n");
}

void
doctor_page_paragraph(struct doctor_page *p, const char *text)
{
    text_writer_text(&p->writer, p->html ? "<p>" : "");
    doctor_page_words(p, text);
    text_writer_text(&p->writer, p->html ? "</p>\n" : "\n");
}

/* -- findings -------------------------------------------------------------- */

static void
add_lines(struct doctor_page *p, const char *lines)
{
    if (p->html) {
        text_writer_text(&p->writer, "<pre>");
        html_lines(&p->writer, lines, strlen(lines));
        text_writer_text(&p->writer, "</pre>");
        return;
    }
    while (*lines != '\0') {
        size_t n = strcspn(lines, "\n");
        text_writer_text(&p->writer, "        ");
        text_writer_add(&p->writer, lines, n);
        text_writer_text(&p->writer, "\n");
        lines += n + (lines[n] == '\n');
    }
}

void
doctor_page_finding(struct doctor_page *p, const struct finding *f)
{
    static const char *const level[] = {[FINDING_CHANGE] = "change",
                                        [FINDING_LOOK] = "look",
                                        [FINDING_NOTE] = "note"};
    struct text_writer *w = &p->writer;

    assert(f->level < ARRAY_SIZE(level) && f->what != NULL);
    if (p->html) {
        text_writer_printf(w, "<div class=\"finding %s\"><p>", level[f->level]);
    }
    else {
        text_writer_printf(w, "%s: ", level[f->level]);
    }
    doctor_page_words(p, f->what);
    text_writer_text(w, p->html ? "</p>" : "\n");
    if (f->where != NULL) {
        text_writer_text(w, p->html ? "<p class=dim>" : "    ");
        doctor_page_words(p, f->where);
        text_writer_text(w, p->html ? "</p>" : "\n");
    }
    if (f->lines != NULL) {
        add_lines(p, f->lines);
    }
    text_writer_text(w, p->html ? "</div>\n" : "");
}

/* -- tables ---------------------------------------------------------------- */

void
doctor_page_table(struct doctor_page *p)
{
    text_writer_text(&p->writer, p->html ? "<table><tbody>\n" : "");
}

void
doctor_page_row(struct doctor_page *p, const char *name, size_t nname)
{
    text_writer_text(&p->writer, p->html ? "<tr><td><code>" : "");
    doctor_page_bytes(p, name, nname);
    text_writer_text(&p->writer, p->html ? "</code></td><td><code>" : ": ");
}

void
doctor_page_row_end(struct doctor_page *p, const char *note)
{
    text_writer_text(&p->writer, p->html ? "</code></td><td>" : "");
    if (note != NULL) {
        text_writer_text(&p->writer, p->html ? "" : "    <- ");
        doctor_page_words(p, note);
    }
    text_writer_text(&p->writer, p->html ? "</td></tr>\n" : "\n");
}

void
doctor_page_table_end(struct doctor_page *p)
{
    text_writer_text(&p->writer, p->html ? "</tbody></table>\n" : "");
}

void
doctor_page_tests(struct doctor_page *p)
{
    if (p->html) {
        text_writer_text(
            &p->writer,
            "<p><a href=\"?auth\">Does Authorization arrive?</a> The browser "
            "asks for a name and a password once: enter anything.</p>\n"
            "<p>Does a body arrive?</p>\n"
            "<form method=post enctype=\"multipart/form-data\" action=\"?\">"
            "<input name=text value=\"some text\" aria-label=Text>"
            "<input type=file name=file aria-label=File>"
            "<button>Send</button></form>\n"
            "<p><a href=\"?text\">This page as text</a></p>\n");
        return;
    }
    text_writer_text(&p->writer, "curl -u name:password 'URL?auth&text'\n"
                                 "curl -F file=@FILE 'URL?text'\n");
}
