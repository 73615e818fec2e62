/*
 * value.c - the values of options: a setter for each kind
 */
#include "conf/value.h"
#include "base/cpu_count.h"
#include "conf/config.h"
#include "text/num.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

void
value_drop(const char **field)
{
    /* The field is const only for those who read the config. */
    union {
        const char *constant;
        char *own;
    } u = {.constant = *field};
    free(u.own);
    *field = NULL;
}

int
value_copy(const char **field, const char *value, size_t n)
{
    char *copy = strndup(value, n);
    if (copy == NULL) {
        return -ENOMEM;
    }
    value_drop(field);
    *field = copy;
    return 0;
}

int
value_string(const struct option_row *row UNUSED, void *field,
             const char *value)
{
    return *value == '\0' ? -EINVAL : value_copy(field, value, strlen(value));
}

/* Stores "/" as "", and no "/" at the end. "?" and "#" end the path of a URL,
 * so they are a mistake here. */
int
value_mount(const struct option_row *row UNUSED, void *field, const char *value)
{
    size_t n = strlen(value);
    if ((n > 0 && value[0] != '/') || strpbrk(value, "?#") != NULL) {
        return -EINVAL;
    }
    while (n > 0 && value[n - 1] == '/') {
        n--;
    }
    return value_copy(field, value, n);
}

/* Unchanged: it is compared with paths as the server sends them. */
int
value_path(const struct option_row *row, void *field, const char *value)
{
    return value[0] != '/' || strpbrk(value, "?# ") != NULL
               ? -EINVAL
               : value_string(row, field, value);
}

/* USER, USER:GROUP or :GROUP. */
int
value_owner(const struct option_row *row, void *field, const char *value)
{
    const char *colon = strchr(value, ':');
    if (colon != NULL && colon[1] == '\0') {
        return -EINVAL;
    }
    return value_string(row, field, value);
}

/* gcc 12's analyzer reports the elements of a growing array as leaks. */
#ifndef __clang__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

static int
append(struct config_list *list, const char *value, size_t n)
{
    if (n == 0) {
        return -EINVAL;
    }
    char **v = reallocarray(list->v, list->n + 1, sizeof(*v));
    char *copy = strndup(value, n);
    if (v != NULL) {
        list->v = v;
    }
    if (v == NULL || copy == NULL) {
        free(copy);
        return -ENOMEM;
    }
    v[list->n++] = copy;
    return 0;
}

int
value_word(const struct option_row *row UNUSED, void *field, const char *value)
{
    return append(field, value, strlen(value));
}

int
value_commas(const struct option_row *row UNUSED, void *field,
             const char *value)
{
    for (;;) {
        size_t n = strcspn(value, ",");
        int r = append(field, value, n);
        if (r < 0 || value[n] == '\0') {
            return r;
        }
        value += n + 1;
    }
}

#ifndef __clang__
#pragma GCC diagnostic pop
#endif

int
value_assignment(const struct option_row *row, void *field, const char *value)
{
    const char *equals = strchr(value, '=');
    return equals == NULL || equals == value ? -EINVAL
                                             : value_word(row, field, value);
}

int
value_variable(const struct option_row *row, void *field, const char *value)
{
    static const char *const ours[] = {
        "FCGI_WEB_SERVER_ADDRS", "LISTEN_FDS",    "LISTEN_PID",
        "LISTEN_FDNAMES",        "NOTIFY_SOCKET", "WATCHDOG_PID",
        "WATCHDOG_USEC"};
    static const char prefix[] = "WSGI_CGI_";
    size_t n = strcspn(value, "=");
    if (strncmp(value, prefix, strlen(prefix)) == 0) {
        return -EINVAL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
        if (strncmp(value, ours[i], n) == 0 && ours[i][n] == '\0') {
            return -EINVAL;
        }
    }
    return value_assignment(row, field, value);
}

static int
parse_number(const struct option_row *row, const char *value, uint64_t *ret)
{
    uint64_t number;
    assert(row->min <= row->max);
    if (num_parse(value, strlen(value), row->max, &number) < 0 ||
        number < row->min) {
        return -EINVAL;
    }
    *ret = number;
    return 0;
}

int
value_unsigned(const struct option_row *row, void *field, const char *value)
{
    uint64_t number;
    int r = parse_number(row, value, &number);
    assert(row->max <= UINT_MAX);
    if (r == 0) {
        *(unsigned *)field = (unsigned)number;
    }
    return r;
}

int
value_int(const struct option_row *row, void *field, const char *value)
{
    uint64_t number;
    int r = parse_number(row, value, &number);
    assert(row->max <= INT_MAX);
    if (r == 0) {
        *(int *)field = (int)number;
    }
    return r;
}

int
value_size(const struct option_row *row, void *field, const char *value)
{
    uint64_t bytes;
    if (num_parse_size(value, &bytes) < 0 || bytes < row->min ||
        bytes > row->max) {
        return -EINVAL;
    }
    *(uint64_t *)field = bytes;
    return 0;
}

int
value_time(const struct option_row *row, void *field, const char *value)
{
    int64_t ms;
    if (num_parse_time(value, &ms) < 0 || (uint64_t)ms < row->min ||
        (uint64_t)ms > row->max) {
        return -EINVAL;
    }
    *(int64_t *)field = ms;
    return 0;
}

/* One to four octal digits. */
static int
parse_octal(const struct option_row *row, const char *value, mode_t *ret)
{
    size_t n = strlen(value);
    mode_t mode = 0;
    if (n == 0 || n > 4 || strspn(value, "01234567") != n) {
        return -EINVAL;
    }
    for (size_t i = 0; i < n; i++) {
        mode = mode * 8 + (mode_t)(value[i] - '0');
    }
    if (mode > row->max) {
        return -EINVAL;
    }
    *ret = mode;
    return 0;
}

int
value_file_mode(const struct option_row *row, void *field, const char *value)
{
    return parse_octal(row, value, field);
}

int
value_umask(const struct option_row *row, void *field, const char *value)
{
    mode_t mode;
    int r = parse_octal(row, value, &mode);
    if (r == 0) {
        *(int *)field = (int)mode; /* -1 would be none */
    }
    return r;
}

/* N or auto, which is the number of processors but not less than least. */
static int
parse_n_or_auto(const struct option_row *row, const char *value, unsigned least,
                unsigned *ret)
{
    if (strcmp(value, "auto") != 0) {
        return value_unsigned(row, ret, value);
    }
    unsigned n = cpu_count();
    *ret = n < least ? least : n > row->max ? (unsigned)row->max : n;
    return 0;
}

int
value_processes(const struct option_row *row, void *field, const char *value)
{
    struct config *c = field;
    const char *dash = strchr(value, '-');
    uint64_t min = 1;
    unsigned max;

    if (dash != NULL &&
        num_parse(value, (size_t)(dash - value), row->max, &min) < 0) {
        return -EINVAL;
    }
    int r = parse_n_or_auto(row, dash != NULL ? dash + 1 : value,
                            min > 0 ? (unsigned)min : 1, &max);
    if (r < 0 || max < min) {
        return -EINVAL;
    }
    c->processes = max;
    c->processes_min = dash != NULL ? (unsigned)min : max;
    return 0;
}

int
value_threads(const struct option_row *row, void *field, const char *value)
{
    struct config *c = field;
    int r = parse_n_or_auto(row, value, 1, &c->threads);

    if (r == 0) {
        c->threads_auto = strcmp(value, "auto") == 0;
    }
    return r;
}

/* One function for all enums: they have the size of an unsigned here, and their
 * first value is 0. */
static_assert(sizeof(enum config_mode) == sizeof(unsigned), "enum size");
static_assert(sizeof(enum config_reload) == sizeof(unsigned), "enum size");
static_assert(sizeof(enum config_errors_to) == sizeof(unsigned), "enum size");
static_assert(sizeof(enum config_log_format) == sizeof(unsigned), "enum size");

int
value_choice(const struct option_row *row, void *field, const char *value)
{
    assert(row->choices != NULL);
    for (unsigned i = 0; i <= row->max; i++) {
        if (row->choices[i] != NULL && strcmp(row->choices[i], value) == 0) {
            memcpy(field, &i, sizeof i);
            return 0;
        }
    }
    return -EINVAL;
}

int
value_log_level(const struct option_row *row UNUSED, void *field,
                const char *value)
{
    for (int i = 0; i < LOG_LEVEL_MAX; i++) {
        if (strcmp(value, log_level_name((enum log_level)i)) == 0) {
            *(enum log_level *)field = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

int
value_true(const struct option_row *row UNUSED, void *field,
           const char *value UNUSED)
{
    *(bool *)field = true;
    return 0;
}

/* row->max is the action. */
int
value_action(const struct option_row *row, void *field,
             const char *value UNUSED)
{
    *(enum config_action *)field = (enum config_action)row->max;
    return 0;
}

int
value_client_action(const struct option_row *row, void *field,
                    const char *value)
{
    struct config *c = field;
    c->action = (enum config_action)row->max;
    return value_string(row, &c->address, value);
}

/* -- --x-sendfile --------------------------------------------------------- */

/* Appends a path with exactly one "/" at its end. */
static int
append_directory(struct config_list *list, const char *path, size_t n)
{
    char text[PATH_MAX];

    while (n > 0 && path[n - 1] == '/') {
        n--;
    }
    int len = snprintf(text, sizeof text, "%.*s/", (int)n, path);
    return len < 0 || (size_t)len >= sizeof text
               ? -EINVAL
               : append(list, text, (size_t)len);
}

struct mapping {
    const char *header;
    size_t header_len;
    const char *url; /* NULL: none was given */
    size_t url_len;
    const char *dir;
};

/* Divides HEADER[:[URLPREFIX=]DIR]; without DIR it is "/". */
static int
split_mapping(const char *value, struct mapping *ret)
{
    static const char name_chars[] = "abcdefghijklmnopqrstuvwxyz"
                                     "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    size_t n = strspn(value, name_chars);
    const char *rest = value + n;
    struct mapping m = {.header = value, .header_len = n, .dir = "/"};

    if (*rest == ':') {
        const char *equals = strchr(++rest, '=');
        if (equals != NULL) {
            m.url = rest;
            m.url_len = (size_t)(equals - rest);
        }
        m.dir = equals != NULL ? equals + 1 : rest;
    }
    else if (*rest != '\0') {
        return -EINVAL;
    }
    *ret = m;
    return 0;
}

static bool
is_header(const struct mapping *m, const char *name)
{
    return m->header_len == strlen(name) &&
           strncasecmp(m->header, name, m->header_len) == 0;
}

/* known is the header of an earlier --x-sendfile, or NULL: a response has one
 * of them only. */
static bool
is_header_allowed(const struct mapping *m, const char *known)
{
    return m->header_len > 2 && strncasecmp(m->header, "X-", 2) == 0 &&
           (known == NULL || is_header(m, known));
}

/* nginx takes a URL in X-Accel-Redirect; the other headers name a file. */
static bool
is_url_allowed(const struct mapping *m)
{
    if (m->url == NULL) {
        return !is_header(m, "X-Accel-Redirect");
    }
    return m->url[0] == '/' && memchr(m->url, '?', m->url_len) == NULL;
}

/* Resolves the directory now: --chdir comes later, and the path of an open
 * file, which it is compared with, has no symbolic links. */
static int
add_mapping(struct config *c, const struct mapping *m)
{
    char real[PATH_MAX];
    struct stat st;
    const char *url = m->url;
    size_t url_len = m->url_len;

    if (realpath(m->dir, real) == NULL || stat(real, &st) < 0 ||
        !S_ISDIR(st.st_mode)) {
        return -EINVAL;
    }
    if (url == NULL) {
        /* As it was written: the web server's list of directories has the same
         * text. */
        url = m->dir[0] == '/' ? m->dir : real;
        url_len = strlen(url);
    }
    int r = append_directory(&c->x_sendfile_urls, url, url_len);
    return r == 0 ? append_directory(&c->x_sendfile_dirs, real, strlen(real))
                  : r;
}

int
value_x_sendfile(const struct option_row *row UNUSED, void *field,
                 const char *value)
{
    struct config *c = field;
    struct mapping m;

    if (split_mapping(value, &m) < 0 || !is_header_allowed(&m, c->x_sendfile) ||
        !is_url_allowed(&m)) {
        return -EINVAL;
    }
    int r = value_copy(&c->x_sendfile, m.header, m.header_len);
    return r == 0 ? add_mapping(c, &m) : r;
}
