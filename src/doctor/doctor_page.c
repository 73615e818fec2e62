#include "doctor/doctor_page.h"

#include "base/utf8.h"
#include "config.h"

#include <stdio.h>
#include <string.h>

enum { SHOWN_MAX = 1000 }; /* bytes of one value */

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fbfbfa;--card:#fff;--fg:#1d2127;"
    "--dim:#626a74;--line:#dfe2e6;--good:#1a7f4b;--warn:#a05a00;--bad:#b3261e;"
    "--code:#f1f2f4;--link:#1f5fae}"
    "@media(prefers-color-scheme:dark){:root{--bg:#16181c;--card:#1f2227;"
    "--fg:#e4e6ea;--dim:#9aa3ae;--line:#343941;--good:#5fd39a;--warn:#f0b45c;"
    "--bad:#ff8a80;--code:#14161a;--link:#8ab8f0}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--bg);color:var(--fg);"
    "font:16px/1.5 system-ui,sans-serif;-webkit-text-size-adjust:100%}"
    "header,main,footer{max-width:72rem;margin:0 auto;padding:0 1.25rem}"
    "header{padding-top:1.75rem}a{color:var(--link)}"
    "code,pre{font:.9em/1.5 ui-monospace,Menlo,Consolas,\"DejaVu Sans Mono\","
    "monospace;overflow-wrap:anywhere}"
    ".dim,small{color:var(--dim)}p{margin:.3rem 0 .6rem}"
    "h1{margin:.1rem 0 0;font-size:1.7rem;line-height:1.25}"
    "h1.good{color:var(--good)}h1.bad{color:var(--bad)}"
    "h2{margin:1.8rem 0 .6rem;font-size:1.1rem}"
    ".finding,table,form{background:var(--card);border:1px solid var(--line);"
    "border-radius:6px}"
    ".finding{padding:.65rem .85rem;margin:0 0 .6rem;"
    "border-left:4px solid var(--line)}"
    ".change{border-left-color:var(--bad)}.look{border-left-color:var(--warn)}"
    ".finding p{margin:0}.finding .dim{margin-top:.3rem;font-size:.9rem}"
    "pre{margin:.35rem 0 0;padding:.5rem .7rem;background:var(--code);"
    "border-radius:4px;white-space:pre-wrap}"
    "table{width:100%;border-collapse:separate;border-spacing:0;"
    "font-size:.9rem;table-layout:fixed}"
    "td{padding:.4rem .85rem;text-align:left;vertical-align:top;"
    "border-top:1px solid var(--line);overflow-wrap:anywhere}"
    "tr:first-child td{border-top:0}td:first-child{width:18rem}"
    "td:last-child{width:21rem;color:var(--dim)}"
    "form{padding:.65rem .85rem;display:flex;flex-wrap:wrap;gap:.6rem 1rem;"
    "align-items:center;margin-top:.6rem}input,button{font:inherit;"
    "max-width:100%}"
    "footer{padding-top:1.4rem;padding-bottom:2rem;color:var(--dim);"
    "font-size:.85rem}"
    "@media(max-width:50rem){header,main,footer{padding-left:.8rem;"
    "padding-right:.8rem}h1{font-size:1.35rem}"
    "table,tbody,tr,td{display:block}tr{padding:.45rem .85rem;"
    "border-top:1px solid var(--line)}tr:first-child{border-top:0}"
    "td,td:first-child,td:last-child{width:auto;padding:0;border:0}"
    "td:first-child{color:var(--dim)}td:empty{display:none}}";

/* -- text ----------------------------------------------------------------- */

void
doctor_page_words(struct doctor_page *p, const char *text)
{
    if (p->html) {
        text_writer_html(&p->sheet, text);
    }
    else {
        text_writer_text(&p->sheet, text);
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
        /* The C1 controls, too: terminals obey them. */
        if (len == 0 || c < 0x20 || c == 0x7f ||
            (len == 2 && c == 0xc2 && (unsigned char)s[i + 1] < 0xa0)) {
            len = 1;
            (void)snprintf(piece, sizeof piece, "\\x%02x", c);
        }
        else {
            memcpy(piece, s + i, len);
            piece[len] = '\0';
        }
        doctor_page_words(p, piece);
    }
    if (n > SHOWN_MAX) {
        text_writer_printf(&p->sheet, " ... (%zu bytes)", n);
    }
}

/* -- the frame ------------------------------------------------------------ */

void
doctor_page_begin(struct doctor_page *p, const char *title, bool good)
{
    struct text_writer *s = &p->sheet;

    if (!p->html) {
        text_writer_text(s, "wsgi-cgi --doctor: ");
        text_writer_text(s, title);
        text_writer_text(s, "\n");
        return;
    }
    text_writer_text(s,
                     "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>"
                     "<meta name=viewport content=\"width=device-width\">"
                     "<meta name=robots content=noindex>"
                     "<title>wsgi-cgi --doctor</title><style>");
    text_writer_text(s, style);
    text_writer_text(s, "</style></head>\n<body><header>"
                        "<p class=dim>wsgi-cgi --doctor</p>");
    text_writer_printf(s, "<h1 class=%s>", good ? "good" : "bad");
    text_writer_html(s, title);
    text_writer_text(s, "</h1></header>\n<main>");
}

void
doctor_page_end(struct doctor_page *p)
{
    static const char last[] =
        "This page is for whoever sets the server up. Take --doctor away when "
        "it has told you what you wanted to know.";

    if (p->html) {
        text_writer_text(&p->sheet, "</main>\n<footer><p>");
        text_writer_html(&p->sheet, last);
        text_writer_text(&p->sheet, "</p>wsgi-cgi " WSGI_CGI_VERSION
                                    "</footer></body></html>\n");
        return;
    }
    text_writer_text(&p->sheet, "\n");
    text_writer_text(&p->sheet, last);
    text_writer_text(&p->sheet, "\n");
}

void
doctor_page_heading(struct doctor_page *p, const char *text)
{
    text_writer_text(&p->sheet, p->html ? "<h2>" : "\n== ");
    doctor_page_words(p, text);
    text_writer_text(&p->sheet, p->html ? "</h2>\n" : "\n");
}

void
doctor_page_say(struct doctor_page *p, const char *text)
{
    text_writer_text(&p->sheet, p->html ? "<p>" : "");
    doctor_page_words(p, text);
    text_writer_text(&p->sheet, p->html ? "</p>\n" : "\n");
}

/* -- findings ------------------------------------------------------------- */

static void
add_lines(struct doctor_page *p, const char *lines)
{
    if (p->html) {
        text_writer_text(&p->sheet, "<pre>");
        /* text_writer_html() takes a newline for a control character. */
        for (size_t n; *lines != '\0'; lines += n) {
            char line[160];
            n = strcspn(lines, "\n");
            (void)snprintf(line, sizeof line, "%.*s", (int)n, lines);
            text_writer_html(&p->sheet, line);
            if (lines[n] == '\n') {
                text_writer_text(&p->sheet, "\n");
                n++;
            }
        }
        text_writer_text(&p->sheet, "</pre>");
        return;
    }
    while (*lines != '\0') {
        size_t n = strcspn(lines, "\n");
        text_writer_text(&p->sheet, "        ");
        text_writer_add(&p->sheet, lines, n);
        text_writer_text(&p->sheet, "\n");
        lines += n + (lines[n] == '\n');
    }
}

void
doctor_page_finding(struct doctor_page *p, const struct finding *f)
{
    static const char *const level[] = {[FINDING_CHANGE] = "change",
                                        [FINDING_LOOK] = "look",
                                        [FINDING_NOTE] = "note"};
    struct text_writer *s = &p->sheet;

    if (p->html) {
        text_writer_printf(s, "<div class=\"finding %s\"><p>", level[f->level]);
    }
    else {
        text_writer_printf(s, "%s: ", level[f->level]);
    }
    doctor_page_words(p, f->what);
    text_writer_text(s, p->html ? "</p>" : "\n");
    if (f->where != NULL) {
        text_writer_text(s, p->html ? "<p class=dim>" : "    ");
        doctor_page_words(p, f->where);
        text_writer_text(s, p->html ? "</p>" : "\n");
    }
    if (f->lines != NULL) {
        add_lines(p, f->lines);
    }
    text_writer_text(s, p->html ? "</div>\n" : "");
}

/* -- tables --------------------------------------------------------------- */

void
doctor_page_table(struct doctor_page *p)
{
    text_writer_text(&p->sheet, p->html ? "<table><tbody>\n" : "");
}

void
doctor_page_row(struct doctor_page *p, const char *name, size_t nname)
{
    text_writer_text(&p->sheet, p->html ? "<tr><td><code>" : "");
    doctor_page_bytes(p, name, nname);
    text_writer_text(&p->sheet, p->html ? "</code></td><td><code>" : ": ");
}

void
doctor_page_row_end(struct doctor_page *p, const char *note)
{
    text_writer_text(&p->sheet, p->html ? "</code></td><td>" : "");
    if (note != NULL) {
        text_writer_text(&p->sheet, p->html ? "" : "    <- ");
        doctor_page_words(p, note);
    }
    text_writer_text(&p->sheet, p->html ? "</td></tr>\n" : "\n");
}

void
doctor_page_table_end(struct doctor_page *p)
{
    text_writer_text(&p->sheet, p->html ? "</tbody></table>\n" : "");
}

void
doctor_page_tests(struct doctor_page *p)
{
    if (p->html) {
        text_writer_text(
            &p->sheet,
            "<p><a href=\"?auth\">Does Authorization arrive?</a> The browser "
            "asks for a name and a password once: type anything.</p>\n"
            "<p>Does a body arrive?</p>\n"
            "<form method=post enctype=\"multipart/form-data\" action=\"?\">"
            "<input name=text value=\"some text\" aria-label=Text>"
            "<input type=file name=file aria-label=File>"
            "<button>Send</button></form>\n"
            "<p><a href=\"?text\">This page as text</a></p>\n");
        return;
    }
    text_writer_text(&p->sheet, "curl -u name:password 'URL?auth&text'\n"
                                "curl -F file=@FILE 'URL?text'\n");
}
