/*
 * sheet.h - a page that is being written
 *
 * What:      text added to a buffer, piece by piece; the first error stays, and
 *            is looked at once, at the end.
 * Owner:     whoever owns the buffer.
 * Threads:   one at a time.                                      GIL: not used.
 * Errors:    sheet.err, -errno of the buffer; after that nothing is added.
 * Blocks:    never.
 */
#ifndef BASE_SHEET_H
#define BASE_SHEET_H

#include "base/buf.h"
#include "base/compiler.h"

#include <stddef.h>

struct sheet {
    struct buf *out;
    int err;
};

void sheet_add(struct sheet *s, const char *bytes, size_t n);
void sheet_text(struct sheet *s, const char *text);
/* Up to 511 bytes: numbers and short words only. */
void sheet_printf(struct sheet *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* As text of an HTML page, or an attribute's value: markup escaped, what is no
 * UTF-8 or a control character replaced. */
void sheet_html(struct sheet *s, const char *text);

#endif
