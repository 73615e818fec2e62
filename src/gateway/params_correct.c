/*
 * params_correct.c - what web servers send, corrected to what PEP 3333 wants
 */
#include "gateway/params.h"

#include "gateway/path.h"
#include "gateway/rewrite.h"
#include "text/num.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

/* See params_get(). */
ALWAYS_INLINE struct param *
find(const struct params *p, const char *name)
{
    return params_find(p, name, strlen(name), hash_bytes(name, strlen(name)));
}

ALWAYS_INLINE int
set(struct params *p, const char *name, const char *value, size_t n)
{
    return params_set(p, name, strlen(name), value, n);
}

ALWAYS_INLINE void
drop_if_empty(struct params *p, const char *name)
{
    struct param *e = find(p, name);
    if (e != NULL && e->value_len == 0) {
        e->value = NULL;
    }
}

ALWAYS_INLINE struct path_part
part(const struct params *p, const char *name)
{
    const struct param *e = find(p, name);
    return e == NULL ? (struct path_part){NULL, 0}
                     : (struct path_part){e->value, e->value_len};
}

static int
correct_length(struct params *p)
{
    const struct param *e = find(p, "CONTENT_LENGTH");
    const struct param *header = find(p, "HTTP_CONTENT_LENGTH");
    bool is_servers = e != NULL; /* not the client's header */
    uint64_t n;
    int r;

    /* busybox httpd sends the former for POST only. */
    if (e == NULL && header != NULL) {
        r = set(p, "CONTENT_LENGTH", header->value, header->value_len);
        if (r < 0) {
            return r;
        }
        e = find(p, "CONTENT_LENGTH");
    }
    params_drop(p, "HTTP_CONTENT_LENGTH");
    if (e == NULL) {
        return 0;
    }
    if (num_parse(e->value, e->value_len, INT64_MAX, &n) < 0) {
        p->is_unsized = is_servers && /* Caddy */
                        params_is(p, "CONTENT_LENGTH", "-1");
        params_drop(p, "CONTENT_LENGTH"); /* "", "-1", "5abc" */
    }
    return 0;
}

/* Apache hides Authorization, but mod_rewrite setups leave it under another
 * name, and mod_fcgid's FcgidPassHeader under the header's own. */
static int
correct_authorization(struct params *p)
{
    static const char *const other[] = {"REDIRECT_HTTP_AUTHORIZATION",
                                        "Authorization"};

    for (size_t i = 0; i < ARRAY_SIZE(other); i++) {
        const struct param *e = find(p, other[i]);
        const struct param *have = find(p, "HTTP_AUTHORIZATION");
        if (e != NULL && (have == NULL || have->value_len == 0)) {
            int r = set(p, "HTTP_AUTHORIZATION", e->value, e->value_len);
            if (r < 0) {
                return r;
            }
        }
    }
    params_drop(p, "Authorization");
    return 0;
}

/* Length of the host in "host", "host:port", "[v6]:port", "[v6]"; a bare v6
 * address has more than one colon and no port. */
static size_t
host_len(const char *s, size_t n)
{
    if (n > 0 && s[0] == '[') {
        const char *end = memchr(s, ']', n);
        return end == NULL ? n : (size_t)(end - s) + 1;
    }
    const char *colon = memchr(s, ':', n);
    if (colon == NULL ||
        memchr(colon + 1, ':', n - (size_t)(colon - s) - 1) != NULL) {
        return n;
    }
    return (size_t)(colon - s);
}

static int
correct_server(struct params *p)
{
    struct path_part host = part(p, "HTTP_HOST");
    struct path_part name = part(p, "SERVER_NAME");
    struct path_part port = part(p, "SERVER_PORT");
    struct path_part from_host = {NULL, 0};
    int r = 0;

    if (host.n > 0) {
        size_t n = host_len(host.s, host.n);
        if (n + 1 < host.n && host.s[n] == ':') {
            from_host = (struct path_part){host.s + n + 1, host.n - n - 1};
        }
        host.n = n;
    }
    if (name.n >
        0) { /* HAProxy, mini_httpd: with the port, of "Host: :80" too */
        name.n = host_len(name.s, name.n);
    }
    if (name.n == 0) {
        name = host.n > 0 ? host : part(p, "SERVER_ADDR");
    }
    if (name.n == 0) {
        name = (struct path_part){"localhost", 9};
    }
    r = set(p, "SERVER_NAME", name.s, name.n);
    if (r == 0 && port.n == 0) {
        port = from_host.n > 0      ? from_host
               : params_is_https(p) ? (struct path_part){"443", 3}
                                    : (struct path_part){"80", 2};
        r = set(p, "SERVER_PORT", port.s, port.n);
    }
    if (r == 0 && part(p, "SERVER_PROTOCOL").n == 0) {
        r = set(p, "SERVER_PROTOCOL", "HTTP/1.0", 8);
    }
    return r;
}

/* PEP 3333: an application at the root has SCRIPT_NAME "", and then there is no
 * URL without a path. Go's cgi.Handler and others divide after a slash: "/app/"
 * and "x". The slash belongs to what follows, unless that has one. */
static int
move_slashes(struct params *p, struct path_part *script, struct path_part *info)
{
    size_t n = script->n;

    while (n > 0 && script->s[n - 1] == '/') {
        n--;
    }
    if (n == script->n) {
        return 0;
    }
    if (info->n == 0) {
        *info = (struct path_part){script->s + n, script->n - n};
    }
    else if (info->s[0] != '/') {
        size_t slashes = script->n - n;
        char *mem = params_alloc(p, slashes + info->n);
        if (mem == NULL) {
            return -ENOMEM;
        }
        memcpy(mem, script->s + n, slashes);
        memcpy(mem + slashes, info->s, info->n);
        *info = (struct path_part){mem, slashes + info->n};
    }
    script->n = n;
    return 0;
}

static int
set_path(struct params *p, struct path_part script, struct path_part info)
{
    int r = move_slashes(p, &script, &info);

    if (r < 0) {
        return r;
    }
    assert(script.n == 0 || script.s[script.n - 1] != '/');
    if (script.n == 0 && info.n == 0) {
        info = (struct path_part){"/", 1};
    }
    if (info.n > 0 && info.s[0] != '/') {
        return -ENOENT; /* "/app" + "le/x" of a prefix match by string */
    }
    r = set(p, "SCRIPT_NAME", script.s == NULL ? "" : script.s, script.n);
    return r < 0 ? r
                 : set(p, "PATH_INFO", info.s == NULL ? "" : info.s, info.n);
}

static struct path_hints
hints_of(const struct params *p)
{
    return (struct path_hints){
        .server_software = part(p, "SERVER_SOFTWARE"),
        .script_filename = part(p, "SCRIPT_FILENAME"),
        .document_root = part(p, "DOCUMENT_ROOT"),
        .context_document_root = part(p, "CONTEXT_DOCUMENT_ROOT"),
        .context_prefix = part(p, "CONTEXT_PREFIX"),
        .script_is_file = p->script_is_file,
    };
}

/* Apache puts REDIRECT_ in front of the names of the request before, once for
 * each internal redirect. */
static bool
was_refused(const struct params *p)
{
    /* the default of LimitInternalRecursion */
    enum { REDIRECTS_MAX = 10 };
    static const char last[] = "REDIRECT_STATUS";
    enum { PREFIX = sizeof "REDIRECT_" - 1 };
    char name[(size_t)REDIRECTS_MAX * PREFIX + sizeof last];

    for (size_t i = 0; i < REDIRECTS_MAX; i++) {
        memcpy(name + i * PREFIX, last, sizeof last);
        struct path_part status = part(p, name);
        if (status.s == NULL) {
            return false;
        }
        if (status.n != 3 || memcmp(status.s, "200", 3) != 0) {
            return true;
        }
    }
    return true; /* too many to check */
}

/* mod_proxy_fcgi sends the same for a file and for a ProxyPass below the
 * document root. Only for a file does it find the start of PATH_INFO itself. */
static bool
apache_has_script(const struct params *p, struct path_part script,
                  struct path_part info)
{
    struct path_hints hints = hints_of(p);
    struct path_part file = hints.script_filename;
    bool is_proxied = file.n >= 6 && memcmp(file.s, "proxy:", 6) == 0;

    return file.n > 0 && !path_script_is_whole(script, &hints) &&
           (!is_proxied ||
            (info.n > 0 && part(p, "proxy-fcgi-pathinfo").s == NULL));
}

struct rewrite_facts
params_rewrite_facts(const struct params *p, const char *app,
                     struct path_part script, struct path_part info)
{
    struct path_part software = part(p, "SERVER_SOFTWARE");
    bool is_apache = software.n >= 6 && memcmp(software.s, "Apache", 6) == 0;
    bool is_lighttpd =
        software.n >= 8 && memcmp(software.s, "lighttpd", 8) == 0;
    struct rewrite_facts f = {
        .script = script,
        .info = info,
        .uri = part(p, "REQUEST_URI"),
        .redirect_url = part(p, "REDIRECT_URL"),
        .script_url = part(p, "SCRIPT_URL"),
        .app = {app, app == NULL ? 0 : strlen(app)},
        .is_redirect = part(p, "REDIRECT_STATUS").s != NULL,
        .is_redirected_twice = part(p, "REDIRECT_REDIRECT_STATUS").s != NULL,
        .script_is_file = p->script_is_file ||
                          (is_apache && apache_has_script(p, script, info)),
    };

    f.is_honest = is_apache || is_lighttpd || f.redirect_url.n > 0;
    f.is_refused = f.is_honest && was_refused(p);
    return f;
}

/* A URL that was not rewritten, as most are, needs no memory. */
static int
undo_rewrite(struct params *p, const struct config *config,
             struct path_part joined, struct path_part *script,
             struct path_part *info)
{
    struct path_part uri = path_without_query(part(p, "REQUEST_URI"));
    char *room = NULL;

    assert(config->mount != NULL);
    if (script->n == 0 || path_equals_decoded(uri, joined)) {
        return 0;
    }
    room = params_alloc(p, uri.n);
    if (room == NULL) {
        return -ENOMEM;
    }
    struct rewrite_facts f =
        params_rewrite_facts(p, config->app, *script, *info);
    enum rewrite found = rewrite_find(config->mount, &f, room, script, info);
    return found == REWRITE_UNDONE || found == REWRITE_KEPT;
}

static int
correct_mounted_path(struct params *p, const struct config *config)
{
    struct path_part script = part(p, "SCRIPT_NAME");
    struct path_part info = part(p, "PATH_INFO");
    char *mem = params_alloc(p, script.n + info.n);

    if (mem == NULL) {
        return -ENOMEM;
    }
    if (script.n > 0) {
        memcpy(mem, script.s, script.n);
    }
    if (info.n > 0) {
        memcpy(mem + script.n, info.s, info.n);
    }
    struct path_part joined = {mem, script.n + info.n};
    int r = undo_rewrite(p, config, joined, &script, &info);
    if (r == 0) {
        r = path_split_at_mount(config->mount, joined, &script, &info);
    }
    return r < 0 ? r : set_path(p, script, info);
}

static bool
is_script_whole(const struct params *p, struct path_part script)
{
    if (script.n == 0) {
        return false;
    }
    struct path_hints hints = hints_of(p);
    return path_script_is_whole(script, &hints);
}

static int
correct_path(struct params *p, const struct config *config)
{
    struct path_part script = part(p, "SCRIPT_NAME");
    struct path_part info = part(p, "PATH_INFO");

    if (config->mount != NULL) {
        return correct_mounted_path(p, config);
    }
    if (info.s == NULL) {
        info = (struct path_part){"", 0};
        if (is_script_whole(p, script)) {
            info = script;
            script = (struct path_part){"", 0};
        }
    }
    return set_path(p, script, info);
}

/* --set overrides what the server sent, also for the rules below (--set
 * HTTPS=on). */
static int
add_settings(struct params *p, const struct config_list *settings)
{
    for (size_t i = 0; i < settings->n; i++) {
        const char *name = settings->v[i];
        const char *eq = strchr(name, '=');
        if (eq == NULL) {
            continue;
        }
        size_t n = (size_t)(eq - name);
        int r = params_set(p, name, n, eq + 1, strlen(eq + 1));
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int
params_correct(struct params *p, const struct config *config)
{
    int r;

    if (part(p, "REQUEST_METHOD").n == 0) {
        return -EBADMSG;
    }
    /* The client's "Proxy:" header must never look like a proxy setting
     * (httpoxy). The HTTP_ copies of length and type are not PEP 3333's. */
    params_drop(p, "HTTP_PROXY");
    if ((r = add_settings(p, &config->set)) < 0) {
        return r;
    }
    params_drop(p, "HTTP_CONTENT_TYPE");
    drop_if_empty(p, "CONTENT_TYPE");
    drop_if_empty(p, "REMOTE_USER");
    drop_if_empty(p, "AUTH_TYPE");
    if ((r = correct_length(p)) < 0 || (r = correct_authorization(p)) < 0 ||
        (r = correct_server(p)) < 0) {
        return r;
    }
    if (part(p, "QUERY_STRING").s == NULL &&
        (r = set(p, "QUERY_STRING", "", 0)) < 0) {
        return r;
    }
    return correct_path(p, config);
}

bool
params_path_is(const struct params *p, const char *path)
{
    struct path_part uri = part(p, "REQUEST_URI");
    size_t n = strlen(path);

    if (uri.n > 0 && uri.s[0] == '/') {
        uri = path_without_query(uri);
        return uri.n == n && memcmp(uri.s, path, n) == 0;
    }
    struct path_part script = part(p, "SCRIPT_NAME");
    struct path_part info = part(p, "PATH_INFO");
    return script.n + info.n == n &&
           (script.n == 0 || memcmp(script.s, path, script.n) == 0) &&
           (info.n == 0 || memcmp(info.s, path + script.n, info.n) == 0);
}

bool
params_is_status_path(const struct params *p, const struct config *config)
{
    return (config->ping_path != NULL &&
            params_path_is(p, config->ping_path)) ||
           (config->status_path != NULL &&
            params_path_is(p, config->status_path));
}

static bool
value_is(struct path_part v, const char *word)
{
    return v.n == strlen(word) && strncasecmp(v.s, word, v.n) == 0;
}

bool
params_is_https(const struct params *p)
{
    struct path_part https = part(p, "HTTPS");

    if (https.n > 0) {
        return value_is(https, "on") || value_is(https, "1") ||
               value_is(https, "yes");
    }
    return value_is(part(p, "REQUEST_SCHEME"), "https");
}
