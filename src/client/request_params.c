/*
 * request_params.c - the variables of a request, like those of a web server
 */
#include "client/request_params.h"

#include "config.h"
#include "os/log.h"
#include "text/token.h"
#include "text/url.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

enum { NAME_MAX_BYTES = 256 };

/* -- pairs ----------------------------------------------------------------- */

static int
add_length(struct buf *to, size_t n)
{
    unsigned char four[4] = {(unsigned char)(n >> 24 | 0x80),
                             (unsigned char)(n >> 16), (unsigned char)(n >> 8),
                             (unsigned char)n};

    assert(n < UINT32_C(1) << 31);
    return n < 0x80 ? buf_add(to, four + 3, 1) : buf_add(to, four, 4);
}

static int
add_pair(struct buf *to, const char *name, size_t nname, const char *value,
         size_t nvalue)
{
    int e = add_length(to, nname);

    e = e == 0 ? add_length(to, nvalue) : e;
    e = e == 0 ? buf_add(to, name, nname) : e;
    return e == 0 ? buf_add(to, value, nvalue) : e;
}

int
request_params_add(struct buf *to, const char *name, const char *value,
                   size_t nvalue)
{
    return add_pair(to, name, strlen(name), value, nvalue);
}

static bool
is_set(const struct config *c, const char *name, size_t n)
{
    for (size_t i = 0; i < c->set.n; i++) {
        if (strncmp(c->set.v[i], name, n) == 0 && c->set.v[i][n] == '=') {
            return true;
        }
    }
    return false;
}

/* Adds a variable, unless --set has another value for it. */
static int
add_own(struct buf *to, const struct config *c, const char *name,
        const char *value, size_t n)
{
    return is_set(c, name, strlen(name))
               ? 0
               : request_params_add(to, name, value, n);
}

static int
add_text(struct buf *to, const struct config *c, const char *name,
         const char *value)
{
    return add_own(to, c, name, value, strlen(value));
}

/* -- the path -------------------------------------------------------------- */

/* Adds the decoded path; *ret_err is 0 or -errno of the buffer. False where a
 * "%" does not start an escape, or the escape is that of NUL. */
static bool
decode(const char *s, size_t n, struct buf *to, int *ret_err)
{
    *ret_err = 0;
    for (size_t i = 0; i < n && *ret_err == 0; i++) {
        char c = s[i];
        if (c == '%') {
            int byte = url_coded_byte(s + i, n - i);
            if (byte <= 0) {
                return false;
            }
            c = (char)byte;
            i += 2;
        }
        *ret_err = buf_add(to, &c, 1);
    }
    return true;
}

static bool
has_control(const char *s)
{
    for (; *s != '\0'; s++) {
        if ((unsigned char)*s < 0x20 || *s == 0x7f) {
            return true;
        }
    }
    return false;
}

static int
add_path(struct buf *to, const struct config *c, const char *option,
         const char *path)
{
    size_t n = strcspn(path, "?");
    const char *query = path[n] == '?' ? path + n + 1 : "";
    struct buf info;
    int e;

    buf_init(&info, 1 << 20);
    if (path[0] != '/' || strpbrk(path, " #") != NULL || has_control(path) ||
        !decode(path, n, &info, &e)) {
        log_error("%s: invalid path \"%s\": expected /PATH or /PATH?QUERY, "
                  "percent-encoded as in a URL",
                  option, path);
        buf_fini(&info);
        return EX_USAGE;
    }
    e = e == 0 ? add_text(to, c, "REQUEST_URI", path) : e;
    e = e == 0 ? add_text(to, c, "SCRIPT_NAME", "") : e;
    e = e == 0 ? add_own(to, c, "PATH_INFO", info.data, info.len) : e;
    e = e == 0 ? add_text(to, c, "QUERY_STRING", query) : e;
    buf_fini(&info);
    return e;
}

/* -- headers --------------------------------------------------------------- */

/* "X-Name" becomes HTTP_X_NAME; Content-Type and Content-Length get no
 * HTTP_. */
static void
variable_name(const char *header, size_t n, char to[NAME_MAX_BYTES + 8])
{
    bool is_body = (n == 12 && strncasecmp(header, "Content-Type", n) == 0) ||
                   (n == 14 && strncasecmp(header, "Content-Length", n) == 0);
    size_t at = is_body ? 0 : 5;

    assert(n <= NAME_MAX_BYTES);
    memcpy(to, "HTTP_", 5);
    for (size_t i = 0; i < n; i++) {
        char c = header[i];
        if (c == '-') {
            c = '_';
        }
        else if (c >= 'a' && c <= 'z') {
            c = (char)(c - 'a' + 'A');
        }
        to[at++] = c;
    }
    to[at] = '\0';
}

static int
add_header(struct buf *to, const struct config *c, const char *line)
{
    char name[NAME_MAX_BYTES + 8];
    size_t n = strcspn(line, ":");
    const char *value = line + n + 1;

    if (line[n] != ':' || n > NAME_MAX_BYTES || !token_is_valid(line, n) ||
        has_control(value)) {
        log_error("--header: invalid value \"%s\": expected NAME: VALUE", line);
        return EX_USAGE;
    }
    value += strspn(value, " ");
    size_t nvalue = strlen(value);
    while (nvalue > 0 && value[nvalue - 1] == ' ') {
        nvalue--;
    }
    variable_name(line, n, name);
    return add_own(to, c, name, value, nvalue);
}

static bool
has_header(const struct config *c, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < c->headers.n; i++) {
        if (strncasecmp(c->headers.v[i], name, n) == 0 &&
            c->headers.v[i][n] == ':') {
            return true;
        }
    }
    return false;
}

static int
add_headers(struct buf *to, const struct config *c)
{
    int e = 0;

    for (size_t i = 0; e == 0 && i < c->headers.n; i++) {
        e = add_header(to, c, c->headers.v[i]);
    }
    if (e == 0 && !has_header(c, "Host")) {
        e = add_text(to, c, "HTTP_HOST", "localhost");
    }
    return e;
}

/* -- all variables --------------------------------------------------------- */

static int
add_fixed(struct buf *to, const struct config *c)
{
    static const char *const fixed[][2] = {
        {"GATEWAY_INTERFACE", "CGI/1.1"},
        {"SERVER_SOFTWARE", "wsgi-cgi/" WSGI_CGI_VERSION},
        {"SERVER_PROTOCOL", "HTTP/1.1"},
        {"SERVER_NAME", "localhost"},
        {"SERVER_PORT", "80"},
        {"REMOTE_ADDR", "127.0.0.1"},
    };
    int e = 0;

    for (size_t i = 0; e == 0 && i < ARRAY_SIZE(fixed); i++) {
        e = add_text(to, c, fixed[i][0], fixed[i][1]);
    }
    return e;
}

static int
add_settings(struct buf *to, const struct config *c)
{
    int e = 0;

    for (size_t i = 0; e == 0 && i < c->set.n; i++) {
        const char *word = c->set.v[i];
        size_t n = strcspn(word, "=");
        e = add_pair(to, word, n, word + n + 1, strlen(word + n + 1));
    }
    return e;
}

int
request_params_make(struct buf *to, const struct config *config,
                    const char *option, const char *method, const char *path,
                    int64_t length)
{
    char digits[24];
    int e;

    if (!token_is_valid(method, strlen(method))) {
        log_error("%s: invalid method \"%s\": expected a word such as GET",
                  option, method);
        return EX_USAGE;
    }
    e = add_fixed(to, config);
    e = e == 0 ? add_text(to, config, "REQUEST_METHOD", method) : e;
    e = e == 0 ? add_path(to, config, option, path) : e;
    if (e == 0 && length >= 0 && !has_header(config, "Content-Length")) {
        (void)snprintf(digits, sizeof digits, "%" PRId64, length);
        e = add_text(to, config, "CONTENT_LENGTH", digits);
    }
    e = e == 0 ? add_headers(to, config) : e;
    e = e == 0 ? add_settings(to, config) : e;
    if (e < 0) {
        log_error("%s: cannot build the request: %s", option, strerror(-e));
        return EX_OSERR;
    }
    return e;
}

int
request_params_from_environment(struct buf *to, const struct config *config,
                                char *const *environment, int64_t length)
{
    static const char name[] = "CONTENT_LENGTH";
    char digits[24];
    int n_digits = snprintf(digits, sizeof digits, "%" PRId64, length);
    int e =
        length < 0 ? 0 : add_own(to, config, name, digits, (size_t)n_digits);

    for (; e == 0 && *environment != NULL; environment++) {
        const char *word = *environment;
        size_t n = strcspn(word, "=");
        if (n == 0 || word[n] == '\0' || is_set(config, word, n) ||
            (length >= 0 && n == sizeof name - 1 &&
             strncmp(word, name, n) == 0)) {
            continue;
        }
        e = add_pair(to, word, n, word + n + 1, strlen(word + n + 1));
    }
    return e == 0 ? add_settings(to, config) : e;
}
