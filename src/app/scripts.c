/*
 * scripts.c - which script below --scripts-in a request means
 */
#include "app/scripts.h"

#include "app/app_spec.h"
#include "text/url.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* -- the path the server sent ---------------------------------------------- */

/* Reads an absolute path from a variable, decoded. False if there is none. */
static bool
path_in(const struct request *q, const char *name, char *to, size_t size)
{
    const struct param *e = params_get(&q->params, name);
    if (e == NULL || e->value_len == 0 || e->value_len >= size ||
        memchr(e->value, '\0', e->value_len) != NULL) {
        return false;
    }
    memcpy(to, e->value, e->value_len);
    to[e->value_len] = '\0';

    size_t prefix = url_proxy_prefix(to, e->value_len);
    if (prefix > 0) {
        /* The path is encoded, and some versions add the query. */
        size_t n = strcspn(to + prefix, "?");
        memmove(to, to + prefix, n);
        n = url_decode(to, n);
        to[n] = '\0';
        if (strlen(to) < n) { /* %00 would cut the path short */
            return false;
        }
    }
    return to[0] == '/';
}

/* -- the script in it ------------------------------------------------------ */

static bool
is_below(const char *real, const char *dir)
{
    size_t n = strlen(dir);
    if (n == 1) {
        return true; /* "/" */
    }
    return strncmp(real, dir, n) == 0 && real[n] == '/';
}

/* An uploaded file must not run, whatever the server takes for a script:
 * x.py.jpg, if the server looks at all extensions, or photo.jpg/x.py, which
 * names no file until it is cut. asked is the name before links are
 * followed. */
static bool
is_script(const struct found_script *s, const char *asked)
{
    return (s->st.st_mode & S_IXUSR) != 0 ||
           app_spec_is_script_name(asked, strlen(asked)) ||
           app_spec_is_script_name(s->path, strlen(s->path));
}

/* Cuts path at the first regular file, which simple configurations of nginx and
 * lighttpd leave to us. If a directory comes first, there is no script. */
static int
cut_at_file(char *path, struct found_script *ret)
{
    char real[PATH_MAX];
    size_t whole = strlen(path);

    while (path[0] != '\0') {
        if (realpath(path, real) != NULL) {
            if (stat(real, &ret->st) < 0 || !S_ISREG(ret->st.st_mode)) {
                return -ENOENT;
            }
            ret->extra = whole - strlen(path);
            ret->path = strdup(real);
            return ret->path == NULL ? -ENOMEM : 0;
        }
        if (errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG) {
            return -ENOENT;
        }
        assert(path[0] == '/');
        *strrchr(path, '/') = '\0';
    }
    return -ENOENT;
}

/* -- SCRIPT_NAME and PATH_INFO --------------------------------------------- */

static bool
ends_with(const char *s, size_t n, const char *end, size_t m)
{
    return n >= m && (m == 0 || memcmp(s + n - m, end, m) == 0);
}

/* With Apache's Action, SCRIPT_NAME is the URL of this program, which no client
 * asked for, and PATH_INFO is the whole URL of the request. */
static bool
is_action(const struct params *p, const struct param *info)
{
    const struct param *url = params_get(p, "REDIRECT_URL");
    return url != NULL && url->value_len == info->value_len &&
           memcmp(url->value, info->value, info->value_len) == 0;
}

/* SCRIPT_NAME should end in the script's name. If the server does not know
 * about scripts, one variable holds the whole path: split it behind "/" and the
 * name. Anything else is a rewritten URL and stays. */
static int
divide_path(struct request *q, const char *name, size_t extra)
{
    struct params *p = &q->params;
    const struct param *script = params_get(p, "SCRIPT_NAME");
    const struct param *info = params_get(p, "PATH_INFO");
    size_t n = strlen(name);

    if (script == NULL || info == NULL ||
        ends_with(script->value, script->value_len, name, n)) {
        return 0;
    }
    const struct param *whole =
        script->value_len > 0 && !is_action(p, info) ? script : info;
    const char *value = whole->value;
    size_t nwhole = whole->value_len;
    if (whole == script && info->value == value + nwhole) {
        /* a slash at the end, which was moved there */
        nwhole += info->value_len;
    }
    if (nwhole < extra || !ends_with(value, nwhole - extra, name, n)) {
        return 0;
    }
    size_t at = nwhole - extra;
    assert(at <= nwhole);
    int r = params_add(p, "SCRIPT_NAME", strlen("SCRIPT_NAME"), value, at);
    return r < 0 ? r
                 : params_add(p, "PATH_INFO", strlen("PATH_INFO"), value + at,
                              extra);
}

int
scripts_find(struct request *q, const char *dir,
             struct found_script *ret_script)
{
    static const char *const names[] = {"SCRIPT_FILENAME", "PATH_TRANSLATED"};
    char path[PATH_MAX];
    bool is_no_script = false;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct found_script s = {.path = NULL};
        if (!path_in(q, names[i], path, sizeof(path))) {
            continue;
        }
        int r = cut_at_file(path, &s);
        if (r == 0 && is_below(s.path, dir) && !is_script(&s, path)) {
            is_no_script = true;
        }
        else if (r == 0 && is_below(s.path, dir)) {
            *ret_script = s;
            if (q->config->mount != NULL) {
                return 0; /* --mount says how to split */
            }
            r = divide_path(q, strrchr(path, '/'), s.extra);
            if (r < 0) {
                found_script_fini(ret_script);
            }
            return r;
        }
        found_script_fini(&s);
        if (r == -ENOMEM) {
            return r;
        }
    }
    return is_no_script ? -EACCES : -ENOENT;
}

void
found_script_fini(struct found_script *s)
{
    free(s->path);
    s->path = NULL;
}
