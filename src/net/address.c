/*
 * address.c - socket addresses as text
 */
#include "net/address.h"

#include "conf/config.h"
#include "os/log.h"
#include "text/num.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

enum { PORT_MAX = 65535 };

/* How long "http://" is at the start of a URL; 0 for anything else. */
static size_t
scheme_length(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz"
                            "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");

    return n > 0 && strncmp(text + n, "://", 3) == 0 ? n + 3 : 0;
}

static int
not_a_url(const char *option, const char *text)
{
    int n = (int)scheme_length(text);

    log_error("%s: invalid value \"%s\": expected " CONFIG_ADDRESS
              "; write it without %.*s%s",
              option, text, n, text,
              strncasecmp(text, "http", 4) == 0
                  ? ": the socket speaks FastCGI, not HTTP"
                  : "");
    return EX_USAGE;
}

/* What people write instead; NULL where it is none of these. */
static const char *
hint(const char *text)
{
    const char *colon = strchr(text, ':');
    struct in_addr host;
    bool is_port = colon == NULL && *text != '\0' &&
                   text[strspn(text, "0123456789")] == '\0';

    if (is_port) {
        return "; for a port of this machine write :PORT";
    }
    if (colon != NULL && strchr(colon + 1, ':') != NULL && *text != '[' &&
        text[strspn(text, "0123456789abcdefABCDEF:.")] == '\0') {
        return "; IPv6 addresses need brackets";
    }
    if (strcmp(text, "localhost") == 0 ||
        (colon == NULL && inet_pton(AF_INET, text, &host) == 1)) {
        return "; the port is missing";
    }
    if (strncmp(text, "*:", 2) == 0) {
        return "; for all addresses of this machine write 0.0.0.0:PORT";
    }
    return NULL;
}

/* "app.sock", "run/sock" and "unix:app.sock", but not "localhost:x". */
static bool
is_relative_path(const char *text)
{
    return strchr(text, '/') != NULL || strncmp(text, "unix:", 5) == 0 ||
           strchr(text, ':') == NULL;
}

static bool
has_port(const char *text)
{
    const char *colon = strrchr(text, ':');
    uint64_t port;

    return colon != NULL &&
           num_parse(colon + 1, strlen(colon + 1), PORT_MAX, &port) == 0;
}

static int
not_an_address(const char *option, const char *text)
{
    const char *more = hint(text);
    const char *path = strncmp(text, "unix:", 5) == 0 ? text + 5 : text;

    if (scheme_length(text) > 0) {
        return not_a_url(option, text);
    }
    if (more == NULL && is_relative_path(text) && *path != '\0') {
        log_error("%s: invalid value \"%s\": expected " CONFIG_ADDRESS
                  "; the path of a socket starts with /, as in $PWD/%s",
                  option, text, path);
        return EX_USAGE;
    }
    if (more == NULL) {
        more = *path == '\0'    ? ""
               : has_port(text) ? "; names of hosts are not looked up"
                                : "; PORT is a number from 1 to 65535";
    }
    log_error("%s: invalid value \"%s\": expected " CONFIG_ADDRESS "%s", option,
              text, more);
    return EX_USAGE;
}

static int
parse_unix(const char *option, const char *text, const char *path,
           struct address *ret)
{
    struct sockaddr_un *un = &ret->u.un;
    size_t n = strlen(path);

    if (n < 2 || n >= sizeof un->sun_path) {
        log_error("%s: invalid value \"%s\": expected a path or name of 2 to "
                  "%zu bytes",
                  option, text, sizeof un->sun_path - 1);
        return EX_USAGE;
    }
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, n);
    ret->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
    ret->is_file = path[0] != '@';
    if (!ret->is_file) {
        un->sun_path[0] = '\0'; /* abstract: there is no file and no NUL */
        ret->len--;
    }
    assert(ret->len <= sizeof *un);
    return 0;
}

static int
parse_tcp(const char *option, const char *text, struct address *ret)
{
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN + 1];
    uint64_t port;

    if (colon == NULL ||
        num_parse(colon + 1, strlen(colon + 1), PORT_MAX, &port) < 0) {
        return not_an_address(option, text);
    }
    const char *name = text;
    size_t n = (size_t)(colon - text);
    bool bracketed = n >= 2 && text[0] == '[' && text[n - 1] == ']';
    if (bracketed) {
        name++;
        n -= 2;
    }
    if (n >= sizeof host) {
        return not_an_address(option, text);
    }
    memcpy(host, name, n);
    host[n] = '\0';
    ret->is_tcp = true;
    if (bracketed && inet_pton(AF_INET6, host, &ret->u.in6.sin6_addr) == 1) {
        ret->u.in6.sin6_family = AF_INET6;
        ret->u.in6.sin6_port = htons((uint16_t)port);
        ret->len = sizeof ret->u.in6;
        return 0;
    }
    if (n == 0 || strcmp(host, "localhost") == 0) {
        memcpy(host, "127.0.0.1", sizeof "127.0.0.1");
    }
    if (bracketed || inet_pton(AF_INET, host, &ret->u.in.sin_addr) != 1) {
        return not_an_address(option, text);
    }
    ret->u.in.sin_family = AF_INET;
    ret->u.in.sin_port = htons((uint16_t)port);
    ret->len = sizeof ret->u.in;
    return 0;
}

int
address_parse(const char *option, const char *text, struct address *ret)
{
    const char *path = NULL;

    memset(ret, 0, sizeof *ret);
    if (strncmp(text, "unix:", 5) == 0) {
        path = text + 5;
    }
    else if (text[0] == '/' || text[0] == '@') {
        path = text;
    }
    if (path == NULL) {
        return parse_tcp(option, text, ret);
    }
    if (path[0] != '/' && path[0] != '@') {
        return not_an_address(option, text);
    }
    return parse_unix(option, text, path, ret);
}

/* The path needs no NUL at its end. An abstract name begins with one. */
static void
format_unix(const struct sockaddr_un *un, socklen_t len,
            char to[ADDRESS_TEXT_SIZE])
{
    size_t start = offsetof(struct sockaddr_un, sun_path);
    int n = len > start ? (int)(len - start) : 0;

    if (n > 1 && un->sun_path[0] == '\0') {
        (void)snprintf(to, ADDRESS_TEXT_SIZE, "@%.*s", n - 1, un->sun_path + 1);
        return;
    }
    (void)snprintf(to, ADDRESS_TEXT_SIZE, "unix:%.*s", n, un->sun_path);
}

void
address_format(const union sockaddr_any *u, socklen_t len,
               char to[ADDRESS_TEXT_SIZE])
{
    char host[INET6_ADDRSTRLEN] = "?";

    switch (u->any.sa_family) {
    case AF_UNIX:
        format_unix(&u->un, len, to);
        break;
    case AF_INET:
        (void)inet_ntop(AF_INET, &u->in.sin_addr, host, sizeof host);
        (void)snprintf(to, ADDRESS_TEXT_SIZE, "%s:%u", host,
                       (unsigned)ntohs(u->in.sin_port));
        break;
    case AF_INET6:
        (void)inet_ntop(AF_INET6, &u->in6.sin6_addr, host, sizeof host);
        (void)snprintf(to, ADDRESS_TEXT_SIZE, "[%s]:%u", host,
                       (unsigned)ntohs(u->in6.sin6_port));
        break;
    default:
        (void)snprintf(to, ADDRESS_TEXT_SIZE, "address family %u",
                       (unsigned)u->any.sa_family);
    }
}

bool
address_is_loopback(const struct address *a)
{
    if (a->u.any.sa_family == AF_INET) {
        return (ntohl(a->u.in.sin_addr.s_addr) >> 24) == 127;
    }
    return a->u.any.sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&a->u.in6.sin6_addr) != 0;
}
