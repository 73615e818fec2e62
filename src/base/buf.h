/*
 * buf.h - a growable byte buffer with a mandatory maximum
 *
 * What:      the bytes from data to data + len. The buffer doubles its size
 *            when it is full, up to max.
 * Owner:     the caller of buf_init(); the bytes belong to the buffer.
 * Lifetime:  buf_init() to buf_fini(). Adding bytes may move data.
 * Threads:   one at a time.                                      GIL: not used.
 * Errors:    0, -ENOMEM, or -EMSGSIZE where max is not enough; logs nothing.
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

/* Makes an empty buffer, which has no memory yet. */
void buf_init(struct buf *b, size_t max);

/* Frees the memory; the buffer is then empty and can be used again. */
void buf_fini(struct buf *b);

/* Makes room for extra bytes after len. */
CHECK_RESULT int buf_reserve(struct buf *b, size_t extra);

CHECK_RESULT int buf_add(struct buf *b, const void *bytes, size_t n);
CHECK_RESULT int buf_add_str(struct buf *b, const char *text);
CHECK_RESULT int buf_printf(struct buf *b, const char *fmt, ...)
    PRINTF_LIKE(2, 3);

/* Removes n bytes from the front, or all where there are fewer. */
void buf_consume(struct buf *b, size_t n);

#endif
