/*
 * json.h - text as a JSON string
 *
 * What:      quotes and escapes; what is not UTF-8 becomes U+FFFD, control
 *            characters (C1 too) are escaped. Valid JSON whatever the bytes are.
 * Threads:   any.                                                GIL: not used.
 * Errors:    0, or -errno of the buffer: it may then hold a part.
 * Blocks:    never.
 * Standards: RFC 8259, 7.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/buf.h"
#include "base/compiler.h"

#include <stddef.h>
#include <stdint.h>

/* Adds n bytes of text with the quotes around them. */
CHECK_RESULT int json_add(struct buf *b, const char *text, size_t n);

/* Adds ,"name":"text": a member that is not the first of its object; nothing
 * where text is NULL. name is written as it is. */
CHECK_RESULT int json_add_member(struct buf *b, const char *name,
                                 const char *text, size_t n);

/* The same for a number. */
CHECK_RESULT int json_add_number(struct buf *b, const char *name,
                                 uint64_t value);

#endif
