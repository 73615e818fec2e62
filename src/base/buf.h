/*
 * buf.h - a growable byte buffer with a mandatory maximum
 *
 * What:      bytes [data, data + len); grows by doubling up to max, never past.
 * Owner:     whoever calls buf_init(); the bytes belong to the buffer.
 * Lifetime:  buf_init() to buf_fini(); pointers into data die at any growth.
 * Threads:   one at a time.                                      GIL: not used.
 * Errors:    0, -ENOMEM, or -EMSGSIZE when max would be passed; logs nothing.
 * Blocks:    never.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/compiler.h"

#include <stddef.h>

struct buf {
    char *data; /* NULL while cap is 0 */
    size_t len;
    size_t cap;
    size_t max;
};

/* An empty buffer that holds no memory yet. */
void buf_init(struct buf *b, size_t max);

/* Frees the memory; the buffer is empty and usable again. */
void buf_fini(struct buf *b);

/* Makes room for extra more bytes behind len. */
CHECK_RESULT int buf_reserve(struct buf *b, size_t extra);

CHECK_RESULT int buf_add(struct buf *b, const void *bytes, size_t n);
CHECK_RESULT int buf_add_str(struct buf *b, const char *text);
CHECK_RESULT int buf_printf(struct buf *b, const char *fmt, ...)
    PRINTF_LIKE(2, 3);

/* Drops n bytes (at most len) from the front. */
void buf_consume(struct buf *b, size_t n);

#endif
