/*
 * other_protocol.c - a client that does not speak FastCGI
 */
#include "transport/other_protocol.h"

#include "base/clock.h"
#include "base/compiler.h"
#include "os/log.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

enum {
    SAME_LINE_MS = 60000,
    METHOD_MAX = 20,  /* letters of an HTTP method */
    NETSTRING_MAX = 8 /* digits of the length of an SCGI head */
};

struct protocol {
    bool (*is)(const uint8_t *p, size_t n);
    bool (*may_be)(const uint8_t *p, size_t n); /* with more bytes; not is() */
    const char *name;
    const char *advice;
    bool is_http;
};

static bool
begins_with(const uint8_t *p, size_t n, const char *text)
{
    size_t m = strlen(text);

    return n >= m && memcmp(p, text, m) == 0;
}

/* True where the n bytes are the first ones of text, and not all of it. */
static bool
begins_like(const uint8_t *p, size_t n, const char *text)
{
    return n < strlen(text) && memcmp(p, text, n) == 0;
}

/* "GET /path", "OPTIONS *", and HTTP/2's preface, which is "PRI *". */
static bool
is_http(const uint8_t *p, size_t n)
{
    size_t i = 0;

    while (i < n && i < METHOD_MAX && p[i] >= 'A' && p[i] <= 'Z') {
        i++;
    }
    return i >= 3 && n - i >= 2 && p[i] == ' ' &&
           (p[i + 1] == '/' || p[i + 1] == '*' ||
            begins_with(p + i + 1, n - i - 1, "http"));
}

static bool
may_be_http(const uint8_t *p, size_t n)
{
    size_t i = 0;

    while (i < n && i < METHOD_MAX && p[i] >= 'A' && p[i] <= 'Z') {
        i++;
    }
    return i == n ||
           (i >= 3 && p[i] == ' ' && begins_like(p + i + 1, n - i - 1, "http"));
}

/* The record of a ClientHello. */
static bool
is_tls(const uint8_t *p, size_t n)
{
    return n >= 3 && p[0] == 22 && p[1] == 3 && p[2] <= 4;
}

static bool
may_be_tls(const uint8_t *p, size_t n)
{
    return p[0] == 22 && (n == 1 || (n == 2 && p[1] == 3));
}

/* modifier1, the size in little-endian order, modifier2; then the size of the
 * first name, and the name: a variable in capitals. */
static bool
is_uwsgi(const uint8_t *p, size_t n)
{
    return n >= 7 && p[0] == 0 && p[3] == 0 && p[4] > 0 && p[5] == 0 &&
           p[6] >= 'A' && p[6] <= 'Z';
}

static bool
may_be_uwsgi(const uint8_t *p, size_t n)
{
    return n < 7 && p[0] == 0 && (n < 4 || p[3] == 0) && (n < 5 || p[4] > 0) &&
           (n < 6 || p[5] == 0);
}

static bool
is_scgi(const uint8_t *p, size_t n)
{
    size_t i = 0;

    while (i < n && i < NETSTRING_MAX && p[i] >= '0' && p[i] <= '9') {
        i++;
    }
    return i > 0 && begins_with(p + i, n - i, ":CONTENT_LENGTH");
}

static bool
may_be_scgi(const uint8_t *p, size_t n)
{
    size_t i = 0;

    while (i < n && i < NETSTRING_MAX && p[i] >= '0' && p[i] <= '9') {
        i++;
    }
    return i > 0 && begins_like(p + i, n - i, ":CONTENT_LENGTH");
}

static bool
is_proxy(const uint8_t *p, size_t n)
{
    return begins_with(p, n, "PROXY ") ||
           begins_with(p, n, "\r\n\r\n") /* version 2 */;
}

static bool
may_be_proxy(const uint8_t *p, size_t n)
{
    return begins_like(p, n, "PROXY ") || begins_like(p, n, "\r\n\r\n");
}

static const struct protocol protocols[] = {
    {is_proxy, may_be_proxy, "the PROXY protocol",
     "switch it off there (HAProxy: no send-proxy)", false},
    {is_http, may_be_http, "HTTP",
     "connect to the web server, and name this socket there as a FastCGI "
     "server (nginx: fastcgi_pass, not proxy_pass)",
     true},
    {is_tls, may_be_tls, "TLS",
     "connect to the web server, and name this socket there as a FastCGI "
     "server (nginx: fastcgi_pass, not proxy_pass)",
     false},
    {is_uwsgi, may_be_uwsgi, "the uwsgi protocol",
     "name this socket in the web server as a FastCGI server (nginx: "
     "fastcgi_pass and fastcgi_params, not uwsgi_pass and uwsgi_params)",
     false},
    {is_scgi, may_be_scgi, "SCGI",
     "name this socket in the web server as a FastCGI server (nginx: "
     "fastcgi_pass and fastcgi_params, not scgi_pass and scgi_params)",
     false},
};

/* For a browser or curl, which would only report an empty answer. */
static void
answer_http(int fd)
{
    static const char answer[] =
        "HTTP/1.0 400 Bad Request\r\n"
        "Content-Type: text/plain\r\n"
        "Connection: close\r\n"
        "\r\n"
        "This is a FastCGI socket, not an HTTP port: connect to the web server "
        "instead.\n";
    ssize_t sent =
        send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT);

    (void)sent;
}

bool
other_protocol_needs_more(const uint8_t *p, size_t n)
{
    bool may_be = false;

    assert(n > 0);
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
        if (protocols[i].is(p, n)) {
            return false;
        }
        may_be = may_be || protocols[i].may_be(p, n);
    }
    return may_be;
}

void
other_protocol_refuse(int fd, const uint8_t *p, size_t n)
{
    static _Atomic(int64_t) due_ms;

    assert(fd >= 0);
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
        const struct protocol *it = &protocols[i];
        if (!it->is(p, n)) {
            continue;
        }
        if (it->is_http) {
            answer_http(fd);
        }
        if (clock_is_due(&due_ms, SAME_LINE_MS)) {
            log_warning("a client speaks %s to a FastCGI socket: %s; this line "
                        "comes at most once a minute",
                        it->name, it->advice);
        }
        return;
    }
}
