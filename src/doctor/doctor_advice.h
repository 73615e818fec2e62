/*
 * doctor_advice.h - what is wrong with a request, and the line that fixes it
 *
 * What:      recognizes the web server by SERVER_SOFTWARE and the other
 *            variables, and knows the configuration of each server.
 * Owner:     all texts are static, except doctor_case.python.
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

/* What is known of one request. */
struct doctor_case {
    const struct request *q;
    bool auth_tried;    /* the client has been asked for Authorization */
    const char *python; /* why Python does not start, or NULL */
    int body_error;     /* of request_read() */
    enum doctor_server server;
    enum rewrite rewrite; /* what the server did to the URL */
};

enum doctor_server doctor_server_of(const struct request *q);
enum rewrite doctor_rewrite_of(const struct request *q);
const char *doctor_server_name(enum doctor_server server);

/* Returns how many findings there are; the urgent ones come first. */
size_t doctor_findings(const struct doctor_case *c,
                       struct finding ret[FINDINGS_MAX]);

/* The last value that the server sent with this name; .s is NULL if there is
 * none. *ret_times (may be NULL): how often the server sent the name. */
struct path_part doctor_raw(const struct params *p, const char *name,
                            size_t *ret_times);

#endif
