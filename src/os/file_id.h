/*
 * file_id.h - tells whether a file has changed
 *
 * What:      device, inode, size and modification time of a file, to be
 *            compared with those of another moment.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none: a file that does not exist has an ID as well.
 * Blocks:    file system.
 */
#ifndef OS_FILE_ID_H
#define OS_FILE_ID_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* All 0: the file does not exist. */
struct file_id {
    uint64_t device, inode;
    int64_t size, mtime_ns;
};

struct file_id file_id_of(const struct stat *st);
struct file_id file_id_of_path(const char *path);
bool file_id_equal(const struct file_id *a, const struct file_id *b);
bool file_id_exists(const struct file_id *s);

#endif
