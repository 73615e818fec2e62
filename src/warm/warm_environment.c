/*
 * warm_environment.c - the environment of an instance
 */
#include "warm/warm_environment.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Each is the start of a name; with "=" it is the whole name. */
static const char *const of_requests[] = {
    /* RFC 3875 */
    "AUTH_TYPE=",
    "CONTENT_LENGTH=",
    "CONTENT_TYPE=",
    "GATEWAY_INTERFACE=",
    "HTTP_",
    "PATH_INFO=",
    "PATH_TRANSLATED=",
    "QUERY_STRING=",
    "REMOTE_",
    "REQUEST_",
    "SCRIPT_",
    "SERVER_",
    /* Apache, and what its modules set for a request */
    "AUTHORIZATION=",
    "BASE_URI=",
    "CONTEXT_",
    "DOCUMENT_",
    "FORENSIC-ID=",
    "GEOIP_",
    "H2",
    "HTTP2=",
    "HTTPS=",
    "MM_",
    "PROXY_",
    "REDIRECT_",
    "SSL_",
    "TLS_",
    "UNIQUE_ID=",
    "UNIQUE_STREAM_ID=",
    "USER_AGENT=",
    "downgrade-1.0=",
    "dont-vary=",
    "force-",
    "gzip-only-text/html=",
    "no-brotli=",
    "no-cache=",
    "no-etag=",
    "no-gzip=",
    "nokeepalive=",
    "redirect-carefully=",
    "suppress-error-charset=",
    /* other servers */
    "FCGI_",
    "LSAPI_",
};

/* Of OpenSSL, for the connections that the application makes. */
static const char *const of_libraries[] = {"SSL_CERT_DIR=", "SSL_CERT_FILE="};

/* Read by this program at its start, and not meant for the instance. */
static const char *const of_process[] = {
    "LISTEN_FDNAMES=", "LISTEN_FDS=",    "LISTEN_PID=",       "NOTIFY_SOCKET=",
    "WATCHDOG_PID=",   "WATCHDOG_USEC=", "WSGI_CGI_OPTIONS=", "WSGI_CGI_WARM=",
};

static bool
starts_with_one(const char *text, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strncmp(text, list[i], strlen(list[i])) == 0) {
            return true;
        }
    }
    return false;
}

static bool
is_of_request(const char *variable)
{
    return starts_with_one(variable, of_requests, ARRAY_SIZE(of_requests)) &&
           !starts_with_one(variable, of_libraries, ARRAY_SIZE(of_libraries));
}

char **
warm_environment_new(char *const *environment, char *const *more, size_t nmore)
{
    size_t n = 0, k = 0;

    while (environment[n] != NULL) {
        n++;
    }
    char **to = calloc(n + nmore + 1, sizeof *to);
    for (size_t i = 0; to != NULL && i < n; i++) {
        if (!is_of_request(environment[i]) &&
            !starts_with_one(environment[i], of_process,
                             ARRAY_SIZE(of_process))) {
            to[k++] = environment[i];
        }
    }
    for (size_t i = 0; to != NULL && i < nmore; i++) {
        to[k++] = more[i];
    }
    return to;
}
