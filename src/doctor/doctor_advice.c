#include "doctor/doctor_advice.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* -- what was sent --------------------------------------------------------- */

struct path_part
doctor_raw(const struct params *p, const char *name, size_t *ret_times)
{
    struct path_part found = {NULL, 0};
    size_t n = strlen(name), times = 0;

    for (size_t i = 0; i < p->nraw; i++) {
        const struct param *e = &p->raw[i];
        if (e->name_len == n && memcmp(e->name, name, n) == 0) {
            found = (struct path_part){e->value, e->value_len};
            times++;
        }
    }
    if (ret_times != NULL) {
        *ret_times = times;
    }
    return found;
}

static struct path_part
raw(const struct doctor_case *c, const char *name)
{
    return doctor_raw(&c->q->params, name, NULL);
}

static bool
begins(struct path_part v, const char *word)
{
    return v.s != NULL && v.n >= strlen(word) &&
           memcmp(v.s, word, strlen(word)) == 0;
}

static bool
is(struct path_part v, const char *word)
{
    return v.s != NULL && v.n == strlen(word) &&
           strncasecmp(v.s, word, v.n) == 0;
}

static bool
has_auth(const struct doctor_case *c)
{
    const struct param *e = params_get(&c->q->params, "HTTP_AUTHORIZATION");
    return e != NULL && e->value_len > 0;
}

/* -- the server ------------------------------------------------------------ */

enum doctor_server
doctor_server_of(const struct request *q)
{
    static const struct {
        const char *begins;
        enum doctor_server server;
    } servers[] = {
        {"lighttpd", SERVER_LIGHTTPD},     {"nginx", SERVER_NGINX},
        {"HAProxy", SERVER_HAPROXY},       {"Caddy", SERVER_CADDY},
        {"mini_httpd", SERVER_MINI_HTTPD}, {"busybox", SERVER_BUSYBOX}};
    struct path_part software = doctor_raw(&q->params, "SERVER_SOFTWARE", NULL);

    for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
        if (begins(software, servers[i].begins)) {
            return servers[i].server;
        }
    }
    if (!begins(software, "Apache")) {
        return SERVER_UNKNOWN;
    }
    if (q->is_cgi) {
        return SERVER_APACHE_CGI;
    }
    /* mod_fcgid names a real file and always sends Connection: close. */
    return !begins(doctor_raw(&q->params, "SCRIPT_FILENAME", NULL), "proxy:") &&
                   is(doctor_raw(&q->params, "HTTP_CONNECTION", NULL), "close")
               ? SERVER_APACHE_FCGID
               : SERVER_APACHE_PROXY;
}

const char *
doctor_server_name(enum doctor_server server)
{
    static const char *const names[SERVER_MAX] = {
        [SERVER_UNKNOWN] = "unknown",
        [SERVER_LIGHTTPD] = "lighttpd",
        [SERVER_NGINX] = "nginx",
        [SERVER_APACHE_PROXY] = "Apache with mod_proxy_fcgi",
        [SERVER_APACHE_FCGID] = "Apache with mod_fcgid",
        [SERVER_APACHE_CGI] = "Apache with mod_cgid or mod_cgi",
        [SERVER_HAPROXY] = "HAProxy",
        [SERVER_CADDY] = "Caddy",
        [SERVER_MINI_HTTPD] = "mini_httpd",
        [SERVER_BUSYBOX] = "busybox httpd",
    };

    assert(server < SERVER_MAX && names[server] != NULL);
    return names[server];
}

/* -- rewrites -------------------------------------------------------------- */

/* "app.py" of "/a/app.py/x". The application's own name may not be known. */
static struct path_part
segment_with_dot(struct path_part p)
{
    while (p.n > 0) {
        const char *slash = memchr(p.s, '/', p.n);
        size_t n = slash == NULL ? p.n : (size_t)(slash - p.s);
        if (n > 0 && memchr(p.s, '.', n) != NULL) {
            return (struct path_part){p.s, n};
        }
        n += slash != NULL;
        p = (struct path_part){p.s + n, p.n - n};
    }
    return p;
}

/* Requests compare SCRIPT_NAME with the application's name. For advice, any
 * name with a dot in it may be the script. */
enum rewrite
doctor_rewrite_of(const struct request *q)
{
    char room[8192], app[256];
    struct path_part script = doctor_raw(&q->params, "SCRIPT_NAME", NULL);
    struct path_part info = doctor_raw(&q->params, "PATH_INFO", NULL);
    struct path_part guess = segment_with_dot(script);
    struct path_part ignored;
    struct rewrite_facts f =
        params_rewrite_facts(&q->params, q->config->app, script, info);

    if (f.uri.n > sizeof room) {
        return REWRITE_NONE;
    }
    enum rewrite r =
        rewrite_find(q->config->mount, &f, room, &ignored, &ignored);
    if (r != REWRITE_NONE || guess.n == 0) {
        return r;
    }
    (void)snprintf(app, sizeof app, "%.*s", (int)guess.n, guess.s);
    f = params_rewrite_facts(&q->params, app, script, info);
    r = rewrite_find(q->config->mount, &f, room, &ignored, &ignored);
    return r == REWRITE_UNDONE ? REWRITE_NO_PATH
           : r == REWRITE_KEPT ? REWRITE_NONE
                               : r;
}

/* -- findings -------------------------------------------------------------- */

#define OUR_LINE "command line of wsgi-cgi, if the application is at /app:"

/* Fills in *f and returns true if there is something to report. */
typedef bool (*finding_fn)(const struct doctor_case *c, struct finding *f);

static bool
find_python(const struct doctor_case *c, struct finding *f)
{
    *f = (struct finding){
        FINDING_CHANGE, "Python does not start with these options:", c->python,
        NULL};
    return c->python != NULL;
}

static bool
find_no_method(const struct doctor_case *c, struct finding *f)
{
    *f = (struct finding){FINDING_CHANGE,
                          "The server sent no REQUEST_METHOD: every request "
                          "would get status 400.",
                          NULL, NULL};
    if (c->server == SERVER_NGINX) {
        f->where = "nginx, in the location:";
        f->lines = "include /etc/nginx/fastcgi_params;";
    }
    return c->q->corrected == -EBADMSG;
}

static bool
find_outside(const struct doctor_case *c, struct finding *f)
{
    if (c->q->corrected != -ENOENT) {
        return false;
    }
    if (c->q->config->mount != NULL) {
        *f = (struct finding){
            FINDING_CHANGE,
            "SCRIPT_NAME and PATH_INFO together are not a path below --mount: "
            "the client would get status 404 without a call of the "
            "application. That is right only if this URL does not belong to "
            "the application.",
            OUR_LINE, "--mount /app"};
        return true;
    }
    *f = (struct finding){
        FINDING_CHANGE,
        "PATH_INFO does not begin with a slash: the server compares the "
        "application's prefix as text, and /apple is not below /app. The "
        "client would get status 404.",
        OUR_LINE, "--mount /app"};
    if (c->server == SERVER_NGINX) {
        f->where = "nginx, two locations instead of one:";
        f->lines = "location = /app { ... }\nlocation /app/ { ... }";
    }
    return true;
}

/* At the root without fix-root-scriptname, lighttpd uses the first part of the
 * path as the script. Only the path "/" shows that for certain. */
static bool
find_path_lighttpd(const struct doctor_case *c, struct finding *f)
{
    struct path_part script = raw(c, "SCRIPT_NAME");

    *f = (struct finding){
        FINDING_LOOK,
        "If the application is at the root of the site, this SCRIPT_NAME is "
        "the first part of a path, and these two lines are missing. If it is "
        "at this SCRIPT_NAME, all is well; write a prefix without a slash at "
        "its end.",
        "lighttpd, in fastcgi.server = ( \"/\" => (( ... )) ):",
        "\"check-local\" => \"disable\",\n\"fix-root-scriptname\" => "
        "\"enable\""};
    if (is(script, "/")) {
        f->level = FINDING_CHANGE;
        f->what = "SCRIPT_NAME is \"/\": lighttpd uses the first part of "
                  "every path as the name of a script.";
        return true;
    }
    return script.n > 0 && !c->q->is_cgi;
}

static bool
find_path_whole(const struct doctor_case *c, struct finding *f)
{
    const struct param *script = params_get(&c->q->params, "SCRIPT_NAME");
    bool corrected = script != NULL && script->value_len == 0;

    *f = (struct finding){
        FINDING_LOOK,
        "The server sends the whole path as SCRIPT_NAME. wsgi-cgi assumes that "
        "the application is at the root of the site; if it is elsewhere, say "
        "where.",
        OUR_LINE, "--mount /app"};
    switch (c->server) {
    case SERVER_NGINX:
        return corrected;
    case SERVER_APACHE_PROXY:
        if (!corrected) {
            f->what = "The server sent no PATH_INFO. That is right only if the "
                      "application is at exactly this path.";
        }
        return true;
    case SERVER_HAPROXY:
        f->level = corrected ? FINDING_LOOK : FINDING_CHANGE;
        f->what = "The server sends the whole path as SCRIPT_NAME. That is "
                  "right only if the application is at exactly this path.";
        f->where = "HAProxy, in fcgi-app (for /app: ^(/app)(/.*)?$):";
        f->lines = "path-info ^()(/.*)$";
        return true;
    case SERVER_UNKNOWN:
    case SERVER_LIGHTTPD:
    case SERVER_APACHE_FCGID:
    case SERVER_APACHE_CGI:
    case SERVER_CADDY:
    case SERVER_MINI_HTTPD:
    case SERVER_BUSYBOX:
    case SERVER_MAX:
        break;
    }
    return false;
}

/* Adds the line that passes the path on, if the server names only the
 * script. */
static void
set_line_with_path(const struct doctor_case *c, struct finding *f)
{
    switch (c->server) {
    case SERVER_NGINX:
        f->where = "nginx, in the location of all other URLs, with "
                   "fastcgi_split_path_info in the script's:";
        f->lines = "try_files $uri /app.py$uri$is_args$args;";
        break;
    case SERVER_CADDY:
        f->where = "Caddy, with \"split .py\" in transport fastcgi:";
        f->lines = "@url not path /app.py /app.py/*\n"
                   "rewrite @url /app.py{path}";
        break;
    case SERVER_LIGHTTPD:
        f->where = "lighttpd, with mod_rewrite:";
        f->lines = "url.rewrite-if-not-file = ( \"\" => "
                   "\"/app.py${url.path}${qsa}\" )";
        break;
    case SERVER_APACHE_PROXY:
    case SERVER_APACHE_FCGID:
    case SERVER_APACHE_CGI:
        f->where = "Apache, in the .htaccess or <Directory>:";
        f->lines = "FallbackResource /app.cgi";
        break;
    case SERVER_UNKNOWN:
    case SERVER_HAPROXY:
    case SERVER_MINI_HTTPD:
    case SERVER_BUSYBOX:
    case SERVER_MAX:
        break;
    }
}

static bool
find_shown_script(const struct doctor_case *c, struct finding *f)
{
    struct path_part script = raw(c, "SCRIPT_NAME");

    *f = (struct finding){
        segment_with_dot(script).n > 0 ? FINDING_CHANGE : FINDING_LOOK,
        "The server has rewritten the URL to a script, whose name is in "
        "SCRIPT_NAME and so in every link. If all URLs of the site lead to "
        "it:",
        "command line of wsgi-cgi, or first line of the script (for a folder: "
        "--mount /folder):",
        "--mount /"};
    if (raw(c, "PATH_INFO").n == 0 &&
        !(c->server == SERVER_NGINX || c->server == SERVER_CADDY)) {
        f->what = "The server has rewritten the URL to a script, without its "
                  "path: for the application all URLs are the same page. If "
                  "all URLs of the site lead to it:";
    }
    return true;
}

static bool
find_rewrite(const struct doctor_case *c, struct finding *f)
{
    *f = (struct finding){FINDING_NOTE, NULL, NULL, NULL};
    switch (c->rewrite) {
    case REWRITE_UNDONE:
        f->what = "The server has rewritten the URL to the script; the "
                  "application gets the path that the client requested.";
        break;
    case REWRITE_KEPT:
        f->what = "The server has rewritten this URL to another path, and that "
                  "is the one that the application gets.";
        break;
    case REWRITE_SHOWN:
        return find_shown_script(c, f);
    case REWRITE_NO_PATH:
        f->level = FINDING_CHANGE;
        f->what =
            "The server has rewritten the URL to a script, without its "
            "path in PATH_INFO. Then the requested path is not certain: an "
            "error document would look the same, or the URL can be read in "
            "two ways. So the application does not get it.";
        set_line_with_path(c, f);
        break;
    case REWRITE_REFUSED:
        f->level = c->q->config->mount != NULL ? FINDING_CHANGE : FINDING_LOOK;
        f->what = "This is an error document (see REDIRECT_STATUS): the server "
                  "has refused the path, so the application does not get it. "
                  "To send all URLs to the application:";
        set_line_with_path(c, f);
        break;
    case REWRITE_NONE:
        break;
    }
    return f->what != NULL;
}

static bool
find_path(const struct doctor_case *c, struct finding *f)
{
    if (c->q->corrected != 0 || c->rewrite == REWRITE_NO_PATH ||
        c->rewrite == REWRITE_REFUSED) {
        return false;
    }
    if (c->q->config->mount != NULL) {
        *f = (struct finding){
            FINDING_NOTE,
            "With --mount, SCRIPT_NAME and PATH_INFO are right, "
            "however the server splits the path.",
            NULL, NULL};
        return true;
    }
    if (c->server == SERVER_LIGHTTPD) {
        return find_path_lighttpd(c, f);
    }
    if (raw(c, "PATH_INFO").s == NULL && raw(c, "SCRIPT_NAME").n > 0) {
        return find_path_whole(c, f);
    }
    *f = (struct finding){
        FINDING_LOOK,
        "Inside handle, the prefix stays in PATH_INFO. At the root of the "
        "site all is well; elsewhere say where the application is.",
        OUR_LINE, "--mount /app"};
    return c->server == SERVER_CADDY && raw(c, "SCRIPT_NAME").n == 0;
}

static bool
find_auth(const struct doctor_case *c, struct finding *f)
{
    if (has_auth(c)) {
        *f = (struct finding){FINDING_NOTE, "Authorization arrives.", NULL,
                              NULL};
        return true;
    }
    *f = (struct finding){
        FINDING_CHANGE,
        "Authorization did not arrive although the page asked for it: the "
        "server withholds it (or you entered nothing).",
        NULL, NULL};
    if (!c->auth_tried) {
        f->level = FINDING_LOOK;
        f->what = "This request has no Authorization; \"Try it\" shows "
                  "whether it would arrive.";
    }
    switch (c->server) {
    case SERVER_APACHE_PROXY:
    case SERVER_APACHE_FCGID:
    case SERVER_APACHE_CGI:
        f->where = "Apache withholds it unless its <Location>, <Directory> or "
                   ".htaccess has one of these lines:";
        f->lines = "CGIPassAuth On\n"
                   "# or, in a .htaccess where that line is a 500:\n"
                   "SetEnvIf Authorization \"(.+)\" HTTP_AUTHORIZATION=$1";
        break;
    case SERVER_HAPROXY:
        f->where = "HAProxy withholds it unless fcgi-app says:";
        f->lines = "pass-header Authorization";
        break;
    case SERVER_NGINX:
        if (c->auth_tried) {
            f->where = "nginx passes it on by default; in the location:";
            f->lines = "fastcgi_param HTTP_AUTHORIZATION $http_authorization;";
        }
        break;
    case SERVER_UNKNOWN:
    case SERVER_LIGHTTPD:
    case SERVER_CADDY:
    case SERVER_MINI_HTTPD:
    case SERVER_BUSYBOX:
    case SERVER_MAX:
        break;
    }
    return true;
}

/* Debian's fastcgi_params sends $host, which has no port. $http_host has
 * one, but it is what the client says even if its request line names another
 * host. */
static bool
find_host(const struct doctor_case *c, struct finding *f)
{
    size_t times;
    struct path_part host = doctor_raw(&c->q->params, "HTTP_HOST", &times);
    struct path_part port = raw(c, "SERVER_PORT");
    bool https = params_is_https(&c->q->params);

    *f = (struct finding){
        FINDING_CHANGE,
        "HTTP_HOST has no port, but the server does not listen on the default "
        "port: links would lead elsewhere.",
        "nginx, the map beside server { }, the last line in the location, "
        "after the line with include:",
        "map $http_host $port_of_host {\n    default      \"\";\n"
        "    \"~(:\\d+)$\"  $1;\n}\n"
        "fastcgi_param HTTP_HOST $host$port_of_host;"};
    return c->server == SERVER_NGINX && times == 1 && host.n > 0 &&
           memchr(host.s, ':', host.n) == NULL && port.n > 0 &&
           !is(port, https ? "443" : "80");
}

static bool
find_https(const struct doctor_case *c, struct finding *f)
{
    *f = (struct finding){
        FINDING_LOOK,
        "A proxy in front says that the client uses https, but the server "
        "uses http: links would begin with http. If the proxy can be trusted "
        "and no client can bypass it:",
        "command line of wsgi-cgi:", "--set HTTPS=on"};
    return is(raw(c, "HTTP_X_FORWARDED_PROTO"), "https") &&
           !params_is_https(&c->q->params);
}

static bool
find_user(const struct doctor_case *c, struct finding *f)
{
    *f = (struct finding){
        FINDING_LOOK,
        "REMOTE_USER is the name that the client claims; the server has "
        "checked the password only if it is configured to.",
        NULL, NULL};
    if (c->server == SERVER_NGINX) {
        f->where = "nginx, in the location, if it has no auth_basic:";
        f->lines = "fastcgi_param REMOTE_USER \"\";";
    }
    return (c->server == SERVER_NGINX || c->server == SERVER_HAPROXY) &&
           has_auth(c) && raw(c, "REMOTE_USER").n > 0;
}

static bool
find_proxy(const struct doctor_case *c, struct finding *f)
{
    *f = (struct finding){
        FINDING_NOTE,
        "The client's Proxy header arrives as HTTP_PROXY. The application does "
        "not get it, since many libraries would use it.",
        NULL, NULL};
    if (c->server == SERVER_NGINX) {
        f->where = "nginx, in the location:";
        f->lines = "fastcgi_param HTTP_PROXY \"\";";
    }
    return raw(c, "HTTP_PROXY").n > 0;
}

static bool
find_body(const struct doctor_case *c, struct finding *f)
{
    *f = (struct finding){FINDING_CHANGE,
                          "The body of this request did not arrive complete; "
                          "see \"Body\" below.",
                          NULL, NULL};
    return c->body_error != 0;
}

static bool
find_length(const struct doctor_case *c, struct finding *f)
{
    *f = (struct finding){
        FINDING_NOTE,
        c->q->is_unsized
            ? "The length of the body is not known: it is received completely "
              "before the application is called with its CONTENT_LENGTH."
            : "The length of the body is not known: CONTENT_LENGTH is left "
              "out, and the application reads wsgi.input to its end.",
        NULL, NULL};
    return c->q->is_unsized ||
           (raw(c, "CONTENT_LENGTH").n > 0 && c->q->content_length < 0);
}

/* A server that refuses a large upload does so before this page, so the page
 * says it in advance. */
static bool
find_limit(const struct doctor_case *c, struct finding *f)
{
    *f = (struct finding){FINDING_NOTE, NULL, NULL, NULL};
    if (c->server == SERVER_NGINX) {
        f->what = "nginx answers bodies over 1 MiB with 413 by default.";
        f->where = "nginx, in the location:";
        f->lines = "client_max_body_size 256m;";
    }
    else if (c->server == SERVER_APACHE_FCGID) {
        f->what = "mod_fcgid answers bodies over 128 KiB with 500 by "
                  "default.";
        f->where = "Apache:";
        f->lines = "FcgidMaxRequestLen 1073741824";
    }
    return f->what != NULL;
}

static bool
find_cold(const struct doctor_case *c, struct finding *f)
{
    *f = (struct finding){
        FINDING_NOTE,
        "Each request starts Python and loads the application. To keep an "
        "instance of it that serves the next requests, until none has come for "
        "5 minutes:",
        "first line of the script, beside its other options:", "--keep-warm"};
    return c->q->is_cgi && !c->q->config->keep_warm &&
           c->q->config->relay == NULL;
}

static bool
find_slash(const struct doctor_case *c, struct finding *f)
{
    struct path_part uri = raw(c, "REQUEST_URI");

    *f = (struct finding){
        FINDING_NOTE,
        "The URL contains %2F. In PATH_INFO it looks like a slash; only "
        "REQUEST_URI shows the difference.",
        NULL, NULL};
    for (size_t i = 0; i + 2 < uri.n && uri.s[i] != '?'; i++) {
        if (strncasecmp(uri.s + i, "%2f", 3) == 0) {
            return true;
        }
    }
    return false;
}

size_t
doctor_findings(const struct doctor_case *c, struct finding ret[FINDINGS_MAX])
{
    static const finding_fn all[] = {
        find_python, find_no_method, find_outside, find_rewrite, find_path,
        find_host,   find_auth,      find_body,    find_https,   find_user,
        find_proxy,  find_length,    find_limit,   find_slash,   find_cold};
    static_assert(ARRAY_SIZE(all) <= FINDINGS_MAX, "room for all");
    struct finding found[ARRAY_SIZE(all)];
    size_t nfound = 0, n = 0;

    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        nfound += all[i](c, &found[nfound]);
        assert(nfound == 0 || found[nfound - 1].what != NULL);
    }
    for (enum finding_level l = FINDING_CHANGE; l <= FINDING_NOTE; l++) {
        for (size_t i = 0; i < nfound; i++) {
            if (found[i].level == l) {
                ret[n++] = found[i];
            }
        }
    }
    assert(n == nfound); /* each has one of the levels */
    return n;
}
