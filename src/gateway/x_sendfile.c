#include "gateway/x_sendfile.h"

#include "gateway/transport.h"
#include "text/utf8.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ENCODED_MAX = 2 * 3 * PATH_MAX };

/* Only a whole, plain file. We send a part of a file ourselves, and one that
 * the server would label differently. */
static bool
is_plain(const struct request *q, uint64_t size)
{
    const struct response *r = &q->response;

    return r->state == RESPONSE_SET && r->status == 200 && r->has_body &&
           q->role == ROLE_RESPONDER && !q->transport->is_nph &&
           (!r->has_length || r->content_length == size) &&
           params_is(&q->params, "REQUEST_METHOD", "GET") &&
           !response_has_header(r, "Content-Range") &&
           !response_has_header(r, "Content-Encoding") &&
           !response_has_header(r, q->config->x_sendfile);
}

/* The path of the open file, links resolved; false if it has none any more. */
static bool
path_of(int fd, char *to, size_t size)
{
    char link[32];
    struct stat open_file, named;

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, to, size - 1);
    if (n <= 0 || (size_t)n >= size - 1) {
        return false;
    }
    to[n] = '\0';
    return to[0] == '/' && fstat(fd, &open_file) == 0 &&
           stat(to, &named) == 0 && open_file.st_dev == named.st_dev &&
           open_file.st_ino == named.st_ino;
}

/* lighttpd answers 502 to a name that is not UTF-8; a control character would
 * end the header. */
static bool
is_sendable(const char *path)
{
    size_t n = strlen(path);

    for (size_t i = 0, len; i < n; i += len) {
        unsigned char c = (unsigned char)path[i];
        len = utf8_char(path + i, n - i);
        if (len == 0 || c < 0x20 || c == 0x7f) {
            return false;
        }
    }
    return true;
}

/* Apache's mod_xsendfile takes the name as it is; others (and its later
 * versions) decode it. */
static bool
is_literal(const struct request *q)
{
    const struct param *e = params_get(&q->params, "SERVER_SOFTWARE");

    return e != NULL && e->value_len >= 6 && memcmp(e->value, "Apache", 6) == 0;
}

static int
add_encoded(struct buf *to, const char *path)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";

    while (*path != '\0') {
        size_t n = strspn(path, plain);
        int e = n > 0 ? buf_add(to, path, n)
                      : buf_printf(to, "%%%02X", (unsigned char)*path);
        if (e < 0) {
            return e;
        }
        path += n > 0 ? n : 1;
    }
    return 0;
}

/* 1 if the path is below a folder: to has what the server calls it. 0 if it is
 * not, or if the server could misread it. */
static int
translate(const struct request *q, const char *path, struct buf *to)
{
    const struct config *c = q->config;
    int (*add)(struct buf *, const char *) =
        is_literal(q) ? buf_add_str : add_encoded;
    size_t i = 0, n = 0;

    while (i < c->x_sendfile_dirs.n) {
        n = strlen(c->x_sendfile_dirs.v[i]);
        if (strncmp(path, c->x_sendfile_dirs.v[i], n) == 0) {
            break;
        }
        i++;
    }
    if (i == c->x_sendfile_dirs.n) {
        return 0;
    }
    int e = add(to, c->x_sendfile_urls.v[i]);
    if (e == 0) {
        e = add(to, path + n);
    }
    if (e < 0) {
        return e;
    }
    return add == add_encoded || (memchr(to->data, '%', to->len) == NULL &&
                                  to->data[to->len - 1] != ' ');
}

int
x_sendfile_answer(struct request *q, int fd, uint64_t size)
{
    const char *header = q->config->x_sendfile;
    char path[PATH_MAX];
    struct buf value;

    if (!is_plain(q, size) || !path_of(fd, path, sizeof path) ||
        !is_sendable(path)) {
        return 0;
    }
    buf_init(&value, ENCODED_MAX);
    int r = translate(q, path, &value);
    if (r > 0) {
        int e = response_add_header(&q->response, header, strlen(header),
                                    value.data, value.len);
        r = e == RESPONSE_OK ? 1 : -ENOMEM;
        response_drop_length(&q->response);
    }
    buf_fini(&value);
    return r == -EMSGSIZE ? 0 : r;
}
