/*
 * html.h - escaped text and the frame of our HTML pages
 *
 * What:      the one escaping function, and the beginning that the status page,
 *            the page of --doctor and the error page of --debug share. Their
 *            style sheet is page.css; the build makes a C string of it.
 * Owner:     the caller owns the writer and its buffer.
 * Threads:   one at a time.                                      GIL: not used.
 * Errors:    text_writer.err.                                    Blocks: never.
 */
#ifndef TEXT_HTML_H
#define TEXT_HTML_H

#include "text/text_writer.h"

#include <stddef.h>

/* A line of text, or the value of an attribute: markup is escaped; control
 * characters and bytes that are not UTF-8 become U+FFFD. */
void html_line(struct text_writer *w, const char *text);

/* The same for text of several lines: newlines and tabs stay, and the other
 * bytes that HTML cannot hold appear as \xNN. */
void html_lines(struct text_writer *w, const char *text, size_t n);

/* Everything before the text of <title>, and everything from there to <body>.
 * refresh_s: the browser loads the page again after so many seconds; 0: never.
 * page: the class that page.css knows the page by. */
void html_begin(struct text_writer *w, int refresh_s);
void html_begin_body(struct text_writer *w, const char *page);

#endif
