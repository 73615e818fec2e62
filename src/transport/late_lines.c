#include "transport/late_lines.h"

enum { LATE_MAX = 256 << 10 };

void
late_lines_init(struct late_lines *l)
{
    (void)pthread_mutex_init(&l->lock, NULL);
    buf_init(&l->text, LATE_MAX);
}

void
late_lines_begin(struct late_lines *l, uint64_t serial)
{
    (void)pthread_mutex_lock(&l->lock);
    l->serial = serial;
    l->text.len = 0;
    atomic_store(&l->has_some, false);
    (void)pthread_mutex_unlock(&l->lock);
}

void
late_lines_add(struct late_lines *l, uint64_t serial, const char *lines,
               size_t n)
{
    (void)pthread_mutex_lock(&l->lock);
    if (l->serial == serial && n > 0 && buf_add(&l->text, lines, n) == 0) {
        atomic_store(&l->has_some, true);
    }
    (void)pthread_mutex_unlock(&l->lock);
}

bool
late_lines_take(struct late_lines *l, struct buf *ret)
{
    if (!atomic_load_explicit(&l->has_some, memory_order_relaxed)) {
        return false;
    }
    (void)pthread_mutex_lock(&l->lock);
    *ret = l->text;
    buf_init(&l->text, LATE_MAX);
    atomic_store(&l->has_some, false);
    (void)pthread_mutex_unlock(&l->lock);
    return true;
}
