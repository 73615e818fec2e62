/*
 * doctor_advice.h - what a request shows to be wrong, and the line that mends it
 *
 * What:      recognises the web server by SERVER_SOFTWARE and by the shape of
 *            its variables, and knows each one's configuration.
 * Owner:     all texts are static.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none.                                               Blocks: never.
 */
#ifndef DOCTOR_DOCTOR_ADVICE_H
#define DOCTOR_DOCTOR_ADVICE_H

#include "doctor/doctor_page.h"
#include "gateway/path.h"
#include "gateway/request.h"
#include "gateway/rewrite.h"

#include <stdbool.h>
#include <stddef.h>

enum doctor_server {
    SERVER_UNKNOWN,
    SERVER_LIGHTTPD,
    SERVER_NGINX,
    SERVER_APACHE_PROXY, /* mod_proxy_fcgi */
    SERVER_APACHE_FCGID,
    SERVER_APACHE_CGI,
    SERVER_HAPROXY,
    SERVER_CADDY,
    SERVER_MINI_HTTPD,
    SERVER_BUSYBOX,
    SERVER_MAX
};

enum { FINDINGS_MAX = 16 };

/* One request, as it was tried. */
struct doctor_case {
    const struct request *q;
    bool auth_tried;    /* the browser was asked for Authorization before */
    const char *python; /* why it cannot be started, or NULL */
    int body_error;     /* of request_read() */
    enum doctor_server server;
    enum rewrite rewrite; /* of the URL, by the server */
};

enum doctor_server doctor_server_of(const struct request *q);
enum rewrite doctor_rewrite_of(const struct request *q);
const char *doctor_server_name(enum doctor_server server);

/* Up to FINDINGS_MAX findings, the urgent ones first; how many. */
size_t doctor_findings(const struct doctor_case *c,
                       struct finding ret[FINDINGS_MAX]);

/* The last value that the server sent under this name; .s is NULL where none.
 * *ret_times (may be NULL): how often. */
struct path_part doctor_raw(const struct params *p, const char *name,
                            size_t *ret_times);

#endif
