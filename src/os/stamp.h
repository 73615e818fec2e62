/*
 * stamp.h - what a file looked like: has it changed since?
 *
 * What:      device, inode, size and time of last change of its bytes.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none: a file that is not there is a state like any other.
 * Blocks:    file system.
 */
#ifndef OS_STAMP_H
#define OS_STAMP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* All 0 = not there. */
struct stamp {
    uint64_t device, inode;
    int64_t size, mtime_ns;
};

struct stamp stamp_of(const struct stat *st);
struct stamp stamp_of_file(const char *path);
bool stamp_equal(const struct stamp *a, const struct stamp *b);
bool stamp_is_there(const struct stamp *s);

#endif
