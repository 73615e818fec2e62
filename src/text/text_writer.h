/*
 * text_writer.h - writes a page into a buffer
 *
 * What:      adds text piece by piece and keeps the first error, so that the
 *            caller checks for one only at the end.
 * Owner:     the caller owns the buffer.
 * Threads:   one at a time.                                      GIL: not used.
 * Errors:    text_writer.err is -errno of the buffer; nothing is added after
 *            it.
 * Blocks:    never.
 */
#ifndef TEXT_TEXT_WRITER_H
#define TEXT_TEXT_WRITER_H

#include "base/buf.h"
#include "base/compiler.h"

#include <stddef.h>

struct text_writer {
    struct buf *out;
    int err;
};

void text_writer_add(struct text_writer *s, const char *bytes, size_t n);
void text_writer_text(struct text_writer *s, const char *text);
/* With "?" for each byte or character that could control a terminal, and for
 * each byte that is not UTF-8. */
void text_writer_safe(struct text_writer *s, const char *text);
/* Numbers and short words only: at most 511 bytes. */
void text_writer_printf(struct text_writer *s, const char *fmt, ...)
    PRINTF_LIKE(2, 3);

#endif
