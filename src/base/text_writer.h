/*
 * text_writer.h - a page that is being written
 *
 * What:      text added to a buffer, piece by piece; the first error stays, and
 *            is looked at once, at the end.
 * Owner:     whoever owns the buffer.
 * Threads:   one at a time.                                      GIL: not used.
 * Errors:    text_writer.err, -errno of the buffer; after that nothing is added.
 * Blocks:    never.
 */
#ifndef BASE_TEXT_WRITER_H
#define BASE_TEXT_WRITER_H

#include "base/buf.h"
#include "base/compiler.h"

#include <stddef.h>

struct text_writer {
    struct buf *out;
    int err;
};

void text_writer_add(struct text_writer *s, const char *bytes, size_t n);
void text_writer_text(struct text_writer *s, const char *text);
/* Up to 511 bytes: numbers and short words only. */
void text_writer_printf(struct text_writer *s, const char *fmt, ...)
    PRINTF_LIKE(2, 3);

#endif
