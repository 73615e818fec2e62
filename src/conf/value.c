/*
 * value.c - the values of options: one setter for each kind
 */
#include "conf/value.h"
#include "base/num.h"
#include "conf/config.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

void
value_drop(const char **field)
{
    /* const is for the readers of the config. */
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

/* "/" and "" are the root, kept as ""; no "/" at the end. "?" and "#" end the
 * path of a URL: whoever writes them means something else. */
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

/* Compared with paths as they are sent, so it is kept as it is written. */
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

/* gcc 12's analyzer loses sight of an element of a grown array in a loop. */
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

static int
parse_number(const struct option_row *row, const char *value, uint64_t *ret)
{
    uint64_t number;
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
        *(int *)field = (int)mode; /* where -1 is none */
    }
    return r;
}

/* Its index, or -EINVAL. */
static int
find_word(const char *const *names, size_t n, const char *value)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], value) == 0) {
            return (int)i;
        }
    }
    return -EINVAL;
}

int
value_mode(const struct option_row *row UNUSED, void *field, const char *value)
{
    enum config_mode *mode = field;
    if (strcmp(value, "cgi") == 0) {
        *mode = MODE_CGI;
    }
    else if (strcmp(value, "fastcgi") == 0) {
        *mode = MODE_FASTCGI;
    }
    else {
        return -EINVAL;
    }
    return 0;
}

int
value_processes(const struct option_row *row, void *field, const char *value)
{
    if (strcmp(value, "auto") != 0) {
        return value_unsigned(row, field, value);
    }
    unsigned *processes = field;
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    *processes = n < 1                    ? 1
                 : (uint64_t)n > row->max ? (unsigned)row->max
                                          : (unsigned)n;
    return 0;
}

int
value_reload(const struct option_row *row UNUSED, void *field,
             const char *value)
{
    static const char *const names[] = {[RELOAD_SCRIPT] = "script",
                                        [RELOAD_MODULES] = "modules",
                                        [RELOAD_OFF] = "off"};
    int i = find_word(names, ARRAY_SIZE(names), value);
    if (i >= 0) {
        *(enum config_reload *)field = (enum config_reload)i;
    }
    return i < 0 ? i : 0;
}

int
value_errors_to(const struct option_row *row UNUSED, void *field,
                const char *value)
{
    static const char *const names[] = {[ERRORS_TO_AUTO] = "auto",
                                        [ERRORS_TO_SERVER] = "server",
                                        [ERRORS_TO_STDERR] = "stderr"};
    int i = find_word(names, ARRAY_SIZE(names), value);
    if (i >= 0) {
        *(enum config_errors_to *)field = (enum config_errors_to)i;
    }
    return i < 0 ? i : 0;
}

int
value_log_format(const struct option_row *row UNUSED, void *field,
                 const char *value)
{
    static const char *const names[] = {
        [LOG_FORMAT_TEXT] = "text", [LOG_FORMAT_JSON] = "json"};
    int i = find_word(names, ARRAY_SIZE(names), value);
    if (i >= 0) {
        *(enum config_log_format *)field = (enum config_log_format)i;
    }
    return i < 0 ? i : 0;
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

/* The row's max is the action. */
int
value_action(const struct option_row *row, void *field,
             const char *value UNUSED)
{
    *(enum config_action *)field = (enum config_action)row->max;
    return 0;
}

int
value_ask(const struct option_row *row, void *field, const char *value)
{
    struct config *c = field;
    c->action = (enum config_action)row->max;
    return value_string(row, &c->address, value);
}

/* -- --x-sendfile ------------------------------------------------------------- */

/* Appends a path with exactly one "/" at its end. */
static int
append_folder(struct config_list *list, const char *path, size_t n)
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

/* The folder is resolved now: --chdir comes later, and an open file's path, which
 * it is compared with, has no symbolic links. */
static int
add_mapping(struct config *c, const char *url, size_t nurl, const char *dir)
{
    char real[PATH_MAX];
    struct stat st;

    if (realpath(dir, real) == NULL || stat(real, &st) < 0 ||
        !S_ISDIR(st.st_mode)) {
        return -EINVAL;
    }
    if (url == NULL) {
        /* As it is written: the server's own list of folders says the same. */
        url = dir[0] == '/' ? dir : real;
        nurl = strlen(url);
    }
    int r = append_folder(&c->x_sendfile_urls, url, nurl);
    return r == 0 ? append_folder(&c->x_sendfile_dirs, real, strlen(real)) : r;
}

int
value_x_sendfile(const struct option_row *row UNUSED, void *field,
                 const char *value)
{
    static const char name_chars[] = "abcdefghijklmnopqrstuvwxyz"
                                     "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    struct config *c = field;
    size_t n = strspn(value, name_chars);
    bool has_map = value[n] == ':';
    const char *map = value + n + 1;
    const char *equals = has_map ? strchr(map, '=') : NULL;

    if (n < 3 || strncasecmp(value, "X-", 2) != 0 ||
        (value[n] != '\0' && !has_map) ||
        (c->x_sendfile != NULL &&
         (strlen(c->x_sendfile) != n ||
          strncasecmp(c->x_sendfile, value, n) != 0)) ||
        (equals != NULL &&
         (map[0] != '/' || memchr(map, '?', (size_t)(equals - map)) != NULL)) ||
        (equals == NULL && n == 16 &&
         strncasecmp(value, "X-Accel-Redirect", n) == 0)) {
        return -EINVAL;
    }
    int r = value_copy(&c->x_sendfile, value, n);
    if (r == 0 && !has_map) {
        r = add_mapping(c, NULL, 0, "/");
    }
    else if (r == 0 && equals == NULL) {
        r = add_mapping(c, NULL, 0, map);
    }
    else if (r == 0) {
        r = add_mapping(c, map, (size_t)(equals - map), equals + 1);
    }
    return r;
}
