/*
 * file_id.h - what a file looked like: has it changed since?
 *
 * What:      device, inode, size and time of last change of its bytes.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none: a file that is not there is a state like any other.
 * Blocks:    file system.
 */
#ifndef OS_FILE_ID_H
#define OS_FILE_ID_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* All 0 = not there. */
struct file_id {
    uint64_t device, inode;
    int64_t size, mtime_ns;
};

struct file_id file_id_of(const struct stat *st);
struct file_id file_id_of_path(const char *path);
bool file_id_equal(const struct file_id *a, const struct file_id *b);
bool file_id_exists(const struct file_id *s);

#endif
