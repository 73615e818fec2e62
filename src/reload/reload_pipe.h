/*
 * reload_pipe.h - names of imported files, from who has Python to who watches
 *
 * What:      a pipe of records "device inode size mtime path", or "loads", each
 *            written whole; several processes may write.
 * Owner:     the reader's process makes it; descriptors are the caller's.
 * Threads:   one at each end of a process.                       GIL: not used.
 * Errors:    0 or -errno; what cannot be sent is dropped or kept, as said.
 * Blocks:    reload_pipe_send() as long as it is allowed to.
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
    bool loads;            /* somebody has said so */
};

/* Both ends are non-blocking and CLOEXEC. */
CHECK_RESULT int reload_pipe_open(struct reload_pipe *h);
void reload_pipe_close(struct reload_pipe *h);

/* Sends what the pipe takes within patience_ms; what was sent is freed, the rest
 * is left in *list. */
void reload_pipe_send(int fd, struct imports_file **list, int64_t patience_ms);

/* Sends what has been imported since the last time, at the end of a load: before
 * whoever watches the files takes the application for loaded, or sees this process
 * end. What the pipe does not take within a second is dropped. fd -1: nobody asks. */
void reload_pipe_tell(int fd);

/* The application has been loaded. fd -1: nobody asks. */
void reload_pipe_tell_loads(int fd);

/* All that has come goes to t, and to h->loads. */
void reload_pipe_receive(struct reload_pipe *h, struct file_watcher *t);

#endif
