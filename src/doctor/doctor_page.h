/*
 * doctor_page.h - how the page of --doctor looks: HTML or plain text
 *
 * What:      the pieces that the page is made of. Whatever is given to them is
 *            escaped: most of it was written by strangers.
 * Owner:     the caller owns the buffer.
 * Threads:   one at a time.                                      GIL: not used.
 * Errors:    sheet.err.                                          Blocks: never.
 */
#ifndef DOCTOR_DOCTOR_PAGE_H
#define DOCTOR_DOCTOR_PAGE_H

#include "base/text_writer.h"

#include <stdbool.h>
#include <stddef.h>

struct doctor_page {
    struct text_writer sheet;
    bool html;
};

/* How urgent a finding is. */
enum finding_level {
    FINDING_CHANGE, /* wrong, and only the configuration can mend it */
    FINDING_LOOK,   /* right or wrong, depending on what is wanted */
    FINDING_NOTE    /* good to know */
};

/* All text is ours, without a newline at the end; where and lines may be NULL. */
struct finding {
    enum finding_level level;
    const char *what;  /* one sentence */
    const char *where; /* which file or line the following belongs to */
    const char *lines; /* what to write there */
};

void doctor_page_begin(struct doctor_page *p, const char *title, bool good);
void doctor_page_end(struct doctor_page *p);

void doctor_page_heading(struct doctor_page *p, const char *text);
void doctor_page_say(struct doctor_page *p, const char *text);
void doctor_page_finding(struct doctor_page *p, const struct finding *f);

/* Rows of a table: name, value, and what there is to say of it (or NULL). */
void doctor_page_table(struct doctor_page *p);
void doctor_page_row(struct doctor_page *p, const char *name, size_t nname);
void doctor_page_row_end(struct doctor_page *p, const char *note);
void doctor_page_table_end(struct doctor_page *p);

/* Text of ours, and bytes of anybody: shown as far as a screen wants them, with
 * what is no printable UTF-8 as \xNN. */
void doctor_page_words(struct doctor_page *p, const char *text);
void doctor_page_bytes(struct doctor_page *p, const char *s, size_t n);

/* The links and forms, HTML only. */
void doctor_page_tests(struct doctor_page *p);

#endif
