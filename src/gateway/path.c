#include "gateway/path.h"

#include "text/url.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static bool
starts_with(struct path_part p, const char *prefix)
{
    size_t n = strlen(prefix);
    return p.s != NULL && p.n >= n && memcmp(p.s, prefix, n) == 0;
}

int
path_split_at_mount(const char *mount, struct path_part joined,
                    struct path_part *ret_script, struct path_part *ret_info)
{
    size_t n = strlen(mount);

    if (!starts_with(joined, mount)) {
        return -ENOENT;
    }
    /* "/apple" is not below "/app". */
    if (n > 0 && joined.n > n && joined.s[n] != '/') {
        return -ENOENT;
    }
    *ret_script = (struct path_part){joined.s, n};
    *ret_info = (struct path_part){joined.s + n, joined.n - n};
    return 0;
}

static struct path_part
without_slashes(struct path_part p)
{
    while (p.n > 0 && *p.s == '/') {
        p.s++;
        p.n--;
    }
    return p;
}

/* True if path is dir or below it. Leading slashes do not count: Apache writes
 * proxy:fcgi://host/path and proxy:fcgi://host//path for the same thing. */
static bool
is_below(struct path_part path, struct path_part dir)
{
    path = without_slashes(path);
    dir = without_slashes(dir);
    while (dir.n > 0 && dir.s[dir.n - 1] == '/') {
        dir.n--;
    }
    if (dir.n == 0 || path.n < dir.n || memcmp(path.s, dir.s, dir.n) != 0) {
        return false;
    }
    return path.n == dir.n || path.s[dir.n] == '/';
}

struct path_part
path_without_query(struct path_part uri)
{
    const char *mark = uri.n == 0 ? NULL : memchr(uri.s, '?', uri.n);

    return (struct path_part){uri.s,
                              mark == NULL ? uri.n : (size_t)(mark - uri.s)};
}

bool
path_equals_decoded(struct path_part encoded, struct path_part plain)
{
    size_t j = 0;

    for (size_t i = 0; i < encoded.n; i++, j++) {
        int c = url_coded_byte(encoded.s + i, encoded.n - i);
        if (c < 0) {
            c = (unsigned char)encoded.s[i];
        }
        else {
            i += 2;
        }
        if (j >= plain.n || (unsigned char)plain.s[j] != c) {
            return false;
        }
    }
    return j == plain.n;
}

bool
path_script_is_whole(struct path_part script, const struct path_hints *hints)
{
    struct path_part file = hints->script_filename;

    if (hints->script_is_file) {
        return false;
    }
    if (starts_with(hints->server_software, "nginx/")) {
        return true;
    }
    /* Apache's mod_proxy_fcgi: there is no script if the made-up file name
     * lies outside the document root. */
    size_t prefix = url_proxy_prefix(file.s, file.n);
    if (prefix == 0 && !(hints->context_prefix.s != NULL &&
                         path_equals_decoded(file, script))) {
        return false;
    }
    if (prefix > 0) {
        file = (struct path_part){file.s + prefix, file.n - prefix};
    }
    return !is_below(file, hints->document_root) &&
           !is_below(file, hints->context_document_root);
}

bool
path_query_has(const char *query, size_t n, const char *word)
{
    size_t nword = strlen(word);

    while (n > 0) {
        const char *amp = memchr(query, '&', n);
        size_t len = amp == NULL ? n : (size_t)(amp - query);
        if (len >= nword && memcmp(query, word, nword) == 0 &&
            (len == nword || query[nword] == '=')) {
            return true;
        }
        len += amp != NULL;
        query += len;
        n -= len;
    }
    return false;
}
