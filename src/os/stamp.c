/*
 * stamp.c - what a file looked like: has it changed since?
 */
#include "os/stamp.h"

struct stamp
stamp_of(const struct stat *st)
{
    return (struct stamp){
        .device = st->st_dev,
        .inode = st->st_ino,
        .size = st->st_size,
        .mtime_ns =
            (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
    };
}

struct stamp
stamp_of_file(const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        return (struct stamp){0, 0, 0, 0};
    }
    return stamp_of(&st);
}

bool
stamp_equal(const struct stamp *a, const struct stamp *b)
{
    return a->device == b->device && a->inode == b->inode &&
           a->size == b->size && a->mtime_ns == b->mtime_ns;
}

bool
stamp_is_there(const struct stamp *s)
{
    return s->inode != 0;
}
