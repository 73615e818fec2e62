/*
 * reload_pipe.h - names of imported files, from workers to the file watcher
 *
 * What:      a pipe with records "is_app device inode size mtime path", or
 *            "loads". Each record is written at once, so that several processes may
 *            write.
 * Owner:     the process that reads makes it; the caller owns the descriptors.
 * Lifetime:  reload_pipe_open() to reload_pipe_close().
 * Threads:   one at each end. Only the reader uses struct reload_pipe.
 * GIL:       not used.
 * Errors:    0 or -errno; the functions say what happens to files that cannot
 *            be sent.
 * Blocks:    reload_pipe_send() and reload_pipe_tell() until their deadline.
 */
#ifndef RELOAD_RELOAD_PIPE_H
#define RELOAD_RELOAD_PIPE_H

#include "app/imports.h"
#include "base/buf.h"
#include "base/compiler.h"
#include "reload/file_watcher.h"

#include <stdbool.h>
#include <stdint.h>

struct reload_pipe {
    int read_fd, write_fd; /* -1 = none */
    struct buf rest;       /* the beginning of a record */
    bool loads;            /* "loads" has arrived */
};

/* Both ends are non-blocking and CLOEXEC. */
CHECK_RESULT int reload_pipe_open(struct reload_pipe *h);
void reload_pipe_close(struct reload_pipe *h);

/* Sends what the pipe takes within patience_ms and frees it; the rest stays in
 * *list. */
void reload_pipe_send(int fd, struct imports_file **list, int64_t patience_ms);

/* Sends the files imported since the last call. Call it at the end of a load,
 * before the watcher regards the application as loaded or sees this process
 * end. What the pipe does not take within a second is dropped. fd -1: does
 * nothing. */
void reload_pipe_tell(int fd);

/* Sends "loads": the application loads. fd -1: does nothing. */
void reload_pipe_tell_loads(int fd);

/* Adds all files that have arrived to t, and sets h->loads. */
void reload_pipe_receive(struct reload_pipe *h, struct file_watcher *t);

#endif
