/*
 * x_sendfile.h - files that the web server sends itself
 *
 * What:      --x-sendfile: instead of a file's bytes the server gets a header
 *            with its path, or with the URL that stands for it there.
 * Owner:     the request.
 * Threads:   the request's thread.                               GIL: not used.
 * Errors:    0, 1 or -ENOMEM.                              Blocks: file system.
 */
#ifndef GATEWAY_X_SENDFILE_H
#define GATEWAY_X_SENDFILE_H

#include "base/compiler.h"
#include "gateway/request.h"

#include <stdint.h>

/* The whole body is the regular file fd, of size bytes. 1: the header has been
 * added and Content-Length removed; finish the response without a body. 0: send
 * the file yourself: it is not below a folder of --x-sendfile, the header
 * cannot hold its name, or the response is not a plain one. Call it only if
 * config->x_sendfile is set. */
CHECK_RESULT int x_sendfile_answer(struct request *q, int fd, uint64_t size);

#endif
