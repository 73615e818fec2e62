/*
 * buf.c - a growable byte buffer with a mandatory maximum
 *
 * The allocation is always one byte larger than cap: vsnprintf() writes a NUL
 * at the end, and there must be room for it in a full buffer, too.
 */
#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_CAP_MIN = 64 };

void
buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void
buf_fini(struct buf *b)
{
    free(b->data);
    b->data = NULL;
    b->len = b->cap = 0;
}

int
buf_reserve(struct buf *b, size_t extra)
{
    assert(b->len <= b->cap && b->cap <= b->max);
    if (extra > b->max - b->len) {
        return -EMSGSIZE;
    }
    size_t need = b->len + extra;
    if (need <= b->cap) {
        return 0;
    }
    size_t cap = b->cap > b->max / 2 ? b->max : b->cap * 2;
    if (cap < BUF_CAP_MIN) {
        cap = b->max < BUF_CAP_MIN ? b->max : BUF_CAP_MIN;
    }
    if (cap < need) {
        cap = need;
    }
    if (cap == SIZE_MAX) {
        return -ENOMEM;
    }
    char *data = realloc(b->data, cap + 1);
    if (data == NULL) {
        return -ENOMEM;
    }
    b->data = data;
    b->cap = cap;
    return 0;
}

int
buf_add(struct buf *b, const void *bytes, size_t n)
{
    int r = buf_reserve(b, n);
    if (r < 0) {
        return r;
    }
    assert(b->cap - b->len >= n);
    if (n > 0) { /* memcpy(NULL, NULL, 0) is undefined */
        memcpy(b->data + b->len, bytes, n);
        b->len += n;
    }
    return 0;
}

int
buf_add_str(struct buf *b, const char *text)
{
    return buf_add(b, text, strlen(text));
}

int
buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n <= 0) {
        return n < 0 ? -ENOMEM : 0;
    }
    int r = buf_reserve(b, (size_t)n);
    if (r < 0) {
        return r;
    }
    va_start(ap, fmt);
    n = vsnprintf(b->data + b->len, b->cap - b->len + 1, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n > b->cap - b->len) {
        return -ENOMEM; /* an argument has changed meanwhile */
    }
    b->len += (size_t)n;
    return 0;
}

void
buf_consume(struct buf *b, size_t n)
{
    if (n >= b->len) {
        b->len = 0;
        return;
    }
    if (n > 0) {
        memmove(b->data, b->data + n, b->len - n);
        b->len -= n;
    }
}
