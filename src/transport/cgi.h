/*
 * cgi.h - CGI/1.1: the one request of this process
 *
 * What:      variables from the environment, body from a descriptor bounded by
 *            CONTENT_LENGTH, response to another.
 * Owner:     main(); both descriptors are closed (and set to -1) when the
 *            response is out and the body drained.
 * Threads:   the main thread.         GIL: not held; the run function takes it.
 * Errors:    the process's exit code; the client has had a response.
 * Blocks:    as long as the request runs, then a bounded time to drain stdin.
 * Standards: RFC 3875.
 */
#ifndef TRANSPORT_CGI_H
#define TRANSPORT_CGI_H

#include "base/compiler.h"
#include "conf/config.h"
#include "gateway/request.h"

struct cgi_io {
    int in_fd;
    int out_fd;
};

typedef void (*cgi_run_fn)(void *arg, struct request *q);

/* Runs the request that the environment describes; returns the exit code. If
 * the request has has_after set, after is called when the response is out and
 * both descriptors are closed. A script named nph-* gets a whole HTTP
 * response. */
CHECK_RESULT int cgi_run(const struct config *config, char **environment,
                         struct cgi_io *io, cgi_run_fn run, cgi_run_fn after,
                         void *arg);

/* The body for a run function that waits for other things as well: it does not
 * call request_read(). cgi_body_fd() says where to wait for bytes; -1: there is
 * nothing to wait for. cgi_body_take() then returns up to size bytes, 0 at the
 * end, -EAGAIN or -errno. */
int cgi_body_fd(const struct request *q);
CHECK_RESULT ssize_t cgi_body_take(struct request *q, void *to, size_t size);

/* True if cgi_body_take() would return 0 and not wait. */
bool cgi_body_is_over(const struct request *q);

/* Bytes that cgi_body_take() has returned come again, if it has returned no
 * others and nothing was sent. 0 or -errno; -EBUSY where more of it was set
 * aside. */
CHECK_RESULT int cgi_body_put_back(struct request *q, const void *bytes,
                                   size_t n);

/* Answers it with a 500 instead: the gateway could not start. The page has the
 * id of the log line. */
void cgi_fail(const struct config *config, char **environment,
              struct cgi_io *io);

/* The same, where cgi_run() has called the run function already. status: the
 * exit code. */
void cgi_refuse(struct request *q, int status);

/* The id of the one request, for log_set_id(): known before it is read. */
const char *cgi_log_id(void);

#endif
