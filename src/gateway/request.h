/*
 * request.h - one request: its variables, its body, its response, its log
 *
 * What:      what the WSGI side sees of a request, over CGI and FastCGI alike.
 * Owner:     the transport (transport/cgi, transport/fcgi) that fills it.
 * Lifetime:  one request; Python objects that outlive it must not touch it.
 * Threads:   one at a time: the thread that runs the request, or another of the
 *            application while the WSGI side keeps the former out
 *            (request_guard.h).
 * GIL:       not used here. hooks.enter() runs before a call waits or copies
 *            very much, hooks.leave() after it: the WSGI side releases and
 *            takes the GIL there.
 * Errors:    0 or -errno.                                  Blocks: see each.
 * Standards: RFC 3875; FastCGI 1.0, 6.
 */
#ifndef GATEWAY_REQUEST_H
#define GATEWAY_REQUEST_H

#include "base/compiler.h"
#include "conf/config.h"
#include "gateway/params.h"
#include "gateway/request_id.h"
#include "gateway/response.h"
#include "os/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct transport; /* gateway/transport.h: only for transports */

/* The numbers are FastCGI's. */
enum request_role { ROLE_RESPONDER = 1, ROLE_AUTHORIZER = 2, ROLE_FILTER = 3 };

enum request_stream { STREAM_STDIN, STREAM_DATA };

/* How a request ended, for the counters. The worst that is noted counts: a
 * request that fails does so even if its client leaves as well. */
enum request_result {
    REQUEST_SERVED,
    REQUEST_CLIENT_GONE, /* its client left, or did not send or read on */
    REQUEST_FAILED
};

struct late_lines; /* of transport/ */

/* Called around waits for the WSGI side. enter may be NULL: nothing is
 * called. */
struct wait_hooks {
    void (*enter)(void *arg);
    void (*leave)(void *arg);
    void *arg;
};

/* Asks one request to end. It names the request, so it cannot hit the next one,
 * however late it is seen. */
struct cancel {
    _Atomic uint64_t serial; /* of the request that is to end; 0 = none yet */
    _Atomic uint64_t
        told; /* of the last one whose application got the exception */
};

/* What a request waits for, and for how long it has done so. The scoreboard has
 * it: other threads and processes read it at any time. The waits of one request
 * come one after the other. */
enum client_wait_kind { WAIT_NOT, WAIT_RECEIVING, WAIT_SENDING };
struct client_wait {
    atomic_llong since_ms; /* clock_ms() when it began, 0 = none */
    atomic_llong total_ms; /* of the waits that have ended */
    _Atomic(enum client_wait_kind) kind;
};

/*
 * Four writers, each with a part of its own; everybody reads. All of them run
 * in the request's thread, or in another one of the application that holds the
 * request's guard (context/request_guard.h); the exceptions are named.
 */
struct request {
    /* The transport: once, when it makes the struct. */
    const struct transport *transport;
    const struct config *config;
    bool is_cgi; /* run_once */

    /* The transport: from the head of each request, before the WSGI side sees
     * it. */
    enum request_role role;
    struct params params; /* until request_detach() */
    bool is_unsized; /* request_take_body() is due; request_prepare() as well */

    /* gateway/: request_prepare() ... */
    int corrected;          /* result of params_correct() */
    int64_t content_length; /* -1 = not known; request_take_body() as well */
    int64_t data_length;    /* FCGI_DATA_LENGTH, -1 = not known */
    /* ... request_read() ... */
    uint64_t data_read;    /* bytes of DATA handed out */
    uint64_t body_read;    /* bytes of STDIN handed out */
    int body_error;        /* sticky: -errno, 0 = none */
    bool body_eof;         /* the end of STDIN has been handed out */
    bool input_terminated; /* wsgi.input_terminated; by request_prepare() */
    /* ... response_*(); response_give_up() in a thread that is not the
     * request's, while that one is stuck and the guard keeps it out ... */
    struct response response;
    bool used_write; /* blocks were sent one by one */
    /* ... and the log. */
    int errors_to_server;        /* -1 until request_tells_server(); the guard
                                  * sets 0 where the peer is gone */
    int64_t start_us;            /* clock_us(), for the access log only; 0 =
                                  * it gets no line, or has it already */
    char id[REQUEST_ID_MAX + 1]; /* "" until request_id() */
    struct request_ids ids;      /* where it comes from */
    char line[200];              /* request_line(), once it is detached */

    /* The WSGI side. response_give_up() puts its own hooks and owner in for as
     * long as it runs. */
    bool has_after; /* the application has work left for when the response is
                     * out */
    struct wait_hooks hooks; /* when the guard is made */
    bool waits_inside;       /* request_wait_begin() has noted a wait */
    int exit_status; /* appStatus, or the CGI exit code; response_*() as well */
    enum request_result result; /* request_note_result() */

    /* The process. */
    pid_t pid;       /* that serves it: request_init() */
    pthread_t owner; /* the thread that runs it: request_clear() */
    /* The watchdog, when the request begins. */
    uint64_t serial;          /* in its thread, from 1; 0 = no cancel */
    struct client_wait *wait; /* NULL: nobody asks; borrowed */
    struct late_lines *late;  /* NULL: nobody adds any; borrowed; FastCGI */
    struct cancel *cancel; /* NULL: nobody will; borrowed. What it points to is
                            * atomic: any thread may write it at any time */
};

void request_init(struct request *q, const struct transport *transport,
                  const struct config *config);
void request_fini(struct request *q);
/* For the next request on the same struct. */
void request_clear(struct request *q);

/* Call it when all params were added: corrects them, sets content_length and
 * response.is_head. 0; or the response has been given (400, 404, 413) and the
 * result is -EBADMSG: do not call the application. With --doctor a request that
 * cannot be corrected is not answered here: the doctor reports it. */
CHECK_RESULT int request_prepare(struct request *q);

/* Instead of request_prepare(), for a request with a fault: sends the answer
 * and logs a line. */
void request_refuse(struct request *q, enum params_fault fault);

/* If is_unsized is set, before the application runs: receives the body to its
 * end and sets content_length and CONTENT_LENGTH, the only thing that most
 * applications look at. 0; or the response has been given (400, 408, 413, 500,
 * 504) or aborted, and the result is -EBADMSG: do not call the application.
 * Blocks up to --body-timeout without a byte. */
CHECK_RESULT int request_take_body(struct request *q);

/* Up to size bytes of the body: > 0; 0 at its end (again and again); -errno if
 * it was cut short or timed out: -ECONNABORTED (FCGI_ABORT_REQUEST), -EPIPE
 * (the connection ended before the body did), -ETIMEDOUT, -EMSGSIZE
 * (--limit-body passed), -ENODATA (the end of the stream before
 * CONTENT_LENGTH). Never more than CONTENT_LENGTH. Returns as soon as it has
 * any bytes. May block up to --body-timeout without a byte. STREAM_DATA only
 * for ROLE_FILTER, and after STDIN has been read to its end (what is left of it
 * is then dropped). */
CHECK_RESULT ssize_t request_read(struct request *q, enum request_stream s,
                                  void *to, size_t size);

/* A phrase for the errors above ("the client went away before ..."). */
const char *request_read_strerror(int err);

/* Does not make the result better. */
static inline void
request_note_result(struct request *q, enum request_result result)
{
    if (result > q->result) {
        q->result = result;
    }
}

/* The answer to an error of the client's own. */
struct request_answer {
    int err;
    const char *status;
    const char *sentence;
};

/* NULL: it is not the client's error. */
const struct request_answer *request_read_answer(int err);

/* Sends it, and logs a line. */
void request_send_answer(struct request *q,
                         const struct request_answer *answer);

/* The answer of a request that --request-timeout has ended. */
#define REQUEST_TIMEOUT_STATUS "504 Gateway Timeout"
#define REQUEST_TIMEOUT_SENTENCE "The application did not answer in time."

/* For transports, around what may wait for the client: release the GIL
 * (hooks.enter()) and take it again, and note the wait. */
void request_wait_begin(struct request *q, enum client_wait_kind kind);
void request_wait_end(struct request *q);

/* True if nobody will read the response any more. Never blocks. */
bool request_peer_gone(struct request *q);

/* Where --errors-to sends what the application prints: true = to the web server
 * (FCGI_STDERR), else to fd 2. */
bool request_tells_server(struct request *q);

/* Writes what the application printed (wsgi.errors, print) there, in whole
 * lines where possible. From another thread than the request's: to fd 2. */
void request_errors(struct request *q, const char *lines, size_t n);

/* Logs one line about this request to the same place, with "[id]" in front. */
void request_log(struct request *q, enum log_level level, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* The same, with more lines that belong to it, such as a traceback. Each gets
 * the id. */
void request_log_more(struct request *q, enum log_level level, const char *more,
                      size_t more_len, const char *fmt, ...) PRINTF_LIKE(5, 6);

/* The id in the log, on a 500 page and in the environ: the server's
 * X-Request-ID if request_id_is_good(), else one made at the first call. */
const char *request_id(struct request *q);

/* Takes CONFIG_REQUEST_ID out of the variables, before environ has them. */
void request_id_take(struct request *q);

/* Variables, body and response end here. Lines that the request still logs go
 * to fd 2, with its id. */
void request_detach(struct request *q);
/* The transport says which request this thread runs, NULL at its end. So log
 * lines of the thread have the id of the request; NULL = none runs. */
void request_set_running(struct request *q);
const char *request_running_id(void);

/* True if it is to end: what is ready is still read and sent, but reads and
 * writes that would wait fail with -ECANCELED. Any thread. */
static inline bool
request_is_cancelled(const struct request *q)
{
    return q->cancel != NULL && q->serial != 0 &&
           atomic_load_explicit(&q->cancel->serial, memory_order_acquire) ==
               q->serial;
}

/* "GET /path" for log lines: cut, escaped; to is always terminated. */
void request_line(const struct request *q, char *to, size_t size);

#endif
