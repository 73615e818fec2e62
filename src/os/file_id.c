/*
 * file_id.c - tells whether a file has changed
 */
#include "os/file_id.h"

struct file_id
file_id_of(const struct stat *st)
{
    return (struct file_id){
        .device = st->st_dev,
        .inode = st->st_ino,
        .size = st->st_size,
        .mtime_ns =
            (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
    };
}

struct file_id
file_id_of_path(const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        return (struct file_id){0, 0, 0, 0};
    }
    return file_id_of(&st);
}

bool
file_id_equal(const struct file_id *a, const struct file_id *b)
{
    return a->device == b->device && a->inode == b->inode &&
           a->size == b->size && a->mtime_ns == b->mtime_ns;
}

bool
file_id_exists(const struct file_id *s)
{
    return s->inode != 0;
}
