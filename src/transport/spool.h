/*
 * spool.h - bytes set aside: first in memory, then in an unlinked file
 *
 * What:      a queue of bytes for a body that must be taken from a peer before
 *            the application asks for it.
 * Owner:     the transport.
 * Lifetime:  spool_init() to spool_fini(); uses no memory until the first
 *            write.
 * Threads:   one at a time.                                      GIL: not used.
 * Errors:    0 or -errno (file system full, no memory); logs nothing.
 * Blocks:    on the file system only.
 */
#ifndef TRANSPORT_SPOOL_H
#define TRANSPORT_SPOOL_H

#include "base/buf.h"
#include "base/compiler.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    SPOOL_MEMORY = 256 << 10,
    SPOOL_MAX = 1 << 30 /* of a body of unknown length */
};

struct spool {
    struct buf mem;
    size_t mem_read;    /* of mem, handed out */
    int fd;             /* -1 = no file yet */
    uint64_t written;   /* bytes in the file */
    uint64_t file_read; /* of the file, handed out */
};

void spool_init(struct spool *s);
void spool_fini(struct spool *s);

/* Bytes that spool_read() would give. */
uint64_t spool_size(const struct spool *s);

/* Adds n bytes. After an error as many of them as found room are there. */
CHECK_RESULT int spool_write(struct spool *s, const void *bytes, size_t n);

/* Up to size of the oldest bytes; 0 = empty. */
CHECK_RESULT ssize_t spool_read(struct spool *s, void *to, size_t size);

#endif
