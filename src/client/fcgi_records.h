/*
 * fcgi_records.h - the records of a request, and those of its response
 *
 * What:      builds BEGIN_REQUEST, PARAMS and STDIN. Takes a response apart as
 *            it arrives, and passes the bytes of STDOUT and STDERR on without
 *            waiting for the rest of their record.
 * Owner:     the caller owns the buffers and the reader.
 * Threads:   one.                                                GIL: not used.
 * Errors:    0 or -errno: -EPROTO (not FastCGI), -ENODATA (the backend broke
 *            the response off), or what the sink returned; logs nothing.
 * Blocks:    where the sink does.
 * Standards: FastCGI 1.0, 3.3, 4.1, 5.
 */
#ifndef CLIENT_FCGI_RECORDS_H
#define CLIENT_FCGI_RECORDS_H

#include "base/buf.h"
#include "base/compiler.h"
#include "transport/fcgi_parser.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FCGI_REQUEST_ID = 1 };

/* -- a request ------------------------------------------------------------- */

CHECK_RESULT int fcgi_records_add(struct buf *out, unsigned type, unsigned id,
                                  const void *bytes, size_t n);

/* BEGIN_REQUEST (a responder, one request a connection), and all PARAMS. */
CHECK_RESULT int fcgi_records_add_head(struct buf *out, const struct buf *vars);

/* -- a response ------------------------------------------------------------ */

/* Gets the bytes of STDOUT, or STDERR (is_errors), as they arrive. */
typedef int (*fcgi_records_sink)(void *arg, bool is_errors, const char *bytes,
                                 size_t n);

struct fcgi_reader {
    fcgi_records_sink sink; /* NULL: waits for the answer to GET_VALUES */
    void *arg;
    uint8_t header[FCGI_HEADER];
    size_t nheader;          /* bytes of it that have come */
    size_t content, padding; /* bytes of the record that have not */
    uint8_t end[8];          /* content of END_REQUEST */
    bool has_begun;          /* STDOUT has come */
    bool is_broken_off;      /* the backend says that more will not come */
    bool is_done;
    uint32_t app_status;
    unsigned protocol_status; /* FCGI_REQUEST_COMPLETE, ... */
};

/* Why the backend refuses the request: for a protocol_status other than
 * FCGI_REQUEST_COMPLETE. */
const char *fcgi_records_refusal(unsigned protocol_status);

/* Takes what has arrived, up to the end of the response. */
CHECK_RESULT int fcgi_reader_take(struct fcgi_reader *r, const char *bytes,
                                  size_t n);

#endif
