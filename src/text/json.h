/*
 * json.h - text as a JSON string
 *
 * What:      adds text with quotes and escapes. Bytes that are not UTF-8 become
 *            U+FFFD, and control characters (C1, too) are escaped, so the
 *            result is valid JSON for any bytes.
 * Threads:   any.                                                GIL: not used.
 * Errors:    0, or -errno of the buffer, which may then have a part of the
 *            text.
 * Blocks:    never.
 * Standards: RFC 8259, 7.
 */
#ifndef TEXT_JSON_H
#define TEXT_JSON_H

#include "base/buf.h"
#include "base/compiler.h"

#include <stddef.h>
#include <stdint.h>

/* Adds n bytes of text in quotes. */
CHECK_RESULT int json_add(struct buf *b, const char *text, size_t n);

/* Adds ,"name":"text", a member that is not the first of its object; nothing
 * where text is NULL. name is not escaped. */
CHECK_RESULT int json_add_member(struct buf *b, const char *name,
                                 const char *text, size_t n);

/* The same for a number. */
CHECK_RESULT int json_add_number(struct buf *b, const char *name,
                                 uint64_t value);

#endif
