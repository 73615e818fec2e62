/*
 * doctor_page.h - the layout of the page of --doctor: HTML or plain text
 *
 * What:      the parts of the page. All text and all values are escaped: most
 *            of them come from the client.
 * Owner:     the caller owns the buffer.
 * Lifetime:  one page.
 * Threads:   one at a time.                                      GIL: not used.
 * Errors:    writer.err.                                         Blocks: never.
 */
#ifndef DOCTOR_DOCTOR_PAGE_H
#define DOCTOR_DOCTOR_PAGE_H

#include "text/text_writer.h"

#include <stdbool.h>
#include <stddef.h>

struct doctor_page {
    struct text_writer writer;
    bool html;
};

/* How urgent a finding is. */
enum finding_level {
    FINDING_CHANGE, /* wrong: only the server's configuration can fix it */
    FINDING_LOOK,   /* may be wrong, depending on what is intended */
    FINDING_NOTE    /* good to know */
};

/* Static texts without a newline at the end; where and lines may be NULL. */
struct finding {
    enum finding_level level;
    const char *what;  /* one sentence */
    const char *where; /* the file or section that lines belong in */
    const char *lines; /* what to write there */
};

/* good: there is nothing to change. */
void doctor_page_begin(struct doctor_page *p, const char *title, bool good);
void doctor_page_end(struct doctor_page *p);

void doctor_page_heading(struct doctor_page *p, const char *text);
void doctor_page_paragraph(struct doctor_page *p, const char *text);
void doctor_page_finding(struct doctor_page *p, const struct finding *f);

/* A table. A row has a name, a value and a note (or NULL): write the value with
 * doctor_page_words() or doctor_page_bytes() between doctor_page_row() and
 * doctor_page_row_end(). */
void doctor_page_table(struct doctor_page *p);
void doctor_page_row(struct doctor_page *p, const char *name, size_t nname);
void doctor_page_row_end(struct doctor_page *p, const char *note);
void doctor_page_table_end(struct doctor_page *p);

/* Words: our own text. Bytes: a value from outside, cut at 1000 bytes; what is
 * not printable UTF-8 appears as \xNN. */
void doctor_page_words(struct doctor_page *p, const char *text);
void doctor_page_bytes(struct doctor_page *p, const char *s, size_t n);

/* Links and a form in HTML, commands in plain text. */
void doctor_page_tests(struct doctor_page *p);

#endif
