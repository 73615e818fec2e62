#include "gateway/rewrite.h"

#include "base/compiler.h"
#include "text/url.h"

#include <string.h>
#include <strings.h>

/* -- paths ---------------------------------------------------------------- */

static bool
starts_with(struct path_part p, struct path_part prefix)
{
    return p.n >= prefix.n &&
           (prefix.n == 0 || memcmp(p.s, prefix.s, prefix.n) == 0);
}

static bool
equals(struct path_part a, struct path_part b)
{
    return a.n == b.n && starts_with(a, b);
}

static struct path_part
behind(struct path_part p, size_t n)
{
    return (struct path_part){p.s + n, p.n - n};
}

static bool
is_at_or_below(struct path_part p, struct path_part dir)
{
    return starts_with(p, dir) && (p.n == dir.n || p.s[dir.n] == '/');
}

/* "/a/b.py" -> "b.py" */
static struct path_part
last_segment(struct path_part p)
{
    const char *slash = p.n == 0 ? NULL : memrchr(p.s, '/', p.n);

    return slash == NULL ? p : behind(p, (size_t)(slash + 1 - p.s));
}

/* "/a/b.py" -> "/a" */
static struct path_part
folder(struct path_part p)
{
    p.n -= last_segment(p).n;
    p.n -= p.n > 0;
    return p;
}

static struct path_part
without_end_slashes(struct path_part p)
{
    while (p.n > 0 && p.s[p.n - 1] == '/') {
        p.n--;
    }
    return p;
}

/* A path byte by byte: two slashes are one, and %2F is a slash, encoded or not.
 * folds: all other %-codes are decoded (once more), and "+" is a blank. */
struct reader {
    struct path_part p;
    bool folds;
    int last;
};

static int
next(struct reader *r)
{
    while (r->p.n > 0) {
        int c = (unsigned char)*r->p.s;
        int coded = url_coded_byte(r->p.s, r->p.n);
        bool decodes = coded >= 0 && (r->folds || coded == '/');
        r->p = behind(r->p, decodes ? 3 : 1);
        c = decodes ? coded : c == '+' && r->folds ? ' ' : c;
        if (c != '/' || r->last != '/') {
            r->last = c;
            return c;
        }
    }
    return -1;
}

static bool
are_alike(struct path_part a, struct path_part b, bool fold)
{
    struct reader ra = {a, fold, 0}, rb = {b, fold, 0};
    int c;

    do {
        c = next(&ra);
        if (c != next(&rb)) {
            return false;
        }
    } while (c >= 0);
    return true;
}

/* True if first and second, one after the other, equal whole. */
static bool
joined_is_like(struct path_part first, struct path_part second,
               struct path_part whole)
{
    struct reader r1 = {first, false, 0}, rw = {whole, false, 0};
    int c;

    while ((c = next(&r1)) >= 0) {
        if (next(&rw) != c) {
            return false;
        }
    }
    struct reader r2 = {second, false, r1.last};
    do {
        c = next(&r2);
        if (c != next(&rw)) {
            return false;
        }
    } while (c >= 0);
    return true;
}

/* -- the requested path --------------------------------------------------- */

enum certainty {
    ASKED_UNKNOWN,
    ASKED_ABOUT, /* but for slashes: to compare with, not to pass on */
    ASKED_SURELY /* as the server checked it */
};

struct asked {
    struct path_part path;
    enum certainty certainty;
};

static bool
has_dot_segment(struct path_part p)
{
    while (p.n > 0) {
        p = behind(p, 1); /* the slash */
        const char *slash = p.n == 0 ? NULL : memchr(p.s, '/', p.n);
        size_t n = slash == NULL ? p.n : (size_t)(slash - p.s);
        if ((n == 1 && p.s[0] == '.') ||
            (n == 2 && p.s[0] == '.' && p.s[1] == '.')) {
            return true;
        }
        p = behind(p, n);
    }
    return false;
}

/* "http://host/x" -> "/x". Anything but a host name stays, and the result is
 * then no path. */
static struct path_part
without_host(struct path_part uri)
{
    static const char *const schemes[] = {"http://", "https://"};

    for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
        size_t n = strlen(schemes[i]);
        if (uri.n > n && strncasecmp(uri.s, schemes[i], n) == 0) {
            while (n < uri.n && uri.s[n] != '/' &&
                   memchr("?#@%\\", uri.s[n], 5) == NULL) {
                n++;
            }
            return behind(uri, n);
        }
    }
    return uri;
}

/* REQUEST_URI decoded into room. */
static struct asked
read_uri(struct path_part uri, char *room)
{
    struct asked none = {{NULL, 0}, ASKED_UNKNOWN};
    struct asked a = {{room, 0}, ASKED_SURELY};
    struct path_part p = without_host(path_without_query(uri));

    if (p.n == 0 || p.s[0] != '/') {
        return none;
    }
    while (p.n > 0) {
        int coded = url_coded_byte(p.s, p.n);
        char c = *p.s;
        if (coded >= 0) {
            c = (char)coded;
        }
        if (c == '\0' || (coded < 0 && (c == '%' || c == '#'))) {
            return none;
        }
        if (c == '/' &&
            (coded >= 0 || (a.path.n > 0 && room[a.path.n - 1] == '/'))) {
            a.certainty = ASKED_ABOUT;
        }
        room[a.path.n++] = c;
        p = behind(p, coded >= 0 ? 3 : 1);
    }
    return has_dot_segment(a.path) ? none : a;
}

static struct asked
find_asked(const struct rewrite_facts *f, char *room)
{
    struct asked a = {without_host(f->redirect_url), ASKED_SURELY};

    if (f->is_refused) {
        return (struct asked){{NULL, 0}, ASKED_UNKNOWN};
    }
    if (f->is_redirected_twice || a.path.n == 0) {
        a.path = f->is_redirect ? (struct path_part){NULL, 0} : f->script_url;
    }
    return a.path.n > 0 && a.path.s[0] == '/' ? a : read_uri(f->uri, room);
}

/* Nothing in it could have been decoded twice, or taken for something else. */
static bool
is_plain(struct asked a)
{
    if (a.certainty != ASKED_SURELY || has_dot_segment(a.path)) {
        return false;
    }
    for (size_t i = 0; i < a.path.n; i++) {
        unsigned char c = (unsigned char)a.path.s[i];
        if (c < ' ' || c == 0x7f || memchr("%?#\\", c, 4) != NULL ||
            (c == '/' && i > 0 && a.path.s[i - 1] == '/')) {
            return false;
        }
    }
    return true;
}

/* -- the script ----------------------------------------------------------- */

/* The name of the application's file; the dots of a module's name do not
 * count. */
static struct path_part
name_of_app(const struct rewrite_facts *f)
{
    struct path_part name = last_segment(f->app);

    return name.n > 0 && memchr(name.s, '.', name.n) != NULL
               ? name
               : (struct path_part){NULL, 0};
}

static bool
names_script(const struct rewrite_facts *f)
{
    struct path_part app = name_of_app(f);

    return f->script_is_file ||
           (app.n > 0 && equals(last_segment(f->script), app));
}

static size_t
how_often(struct path_part p, struct path_part segment)
{
    size_t n = 0;

    while (p.n > 0) {
        const char *slash = memchr(p.s, '/', p.n);
        size_t len = slash == NULL ? p.n : (size_t)(slash - p.s);
        n += equals((struct path_part){p.s, len}, segment);
        p = behind(p, len + (slash != NULL));
    }
    return n;
}

/* True if the client did not choose what follows the script. Where only the
 * name says what the script is, /old/app.py/x, sent to /new/app.py/x, must not
 * become /x. */
static bool
is_divided_surely(const struct rewrite_facts *f, struct path_part asked)
{
    struct path_part app = name_of_app(f);

    return f->script_is_file ||
           (names_script(f) && how_often(f->script, app) == 1 &&
            how_often(f->info, app) + 1 > how_often(asked, app));
}

/* nginx's stock parameters have all of "/app.py/x" in SCRIPT_NAME: divide it
 * after the application's own name. */
static struct rewrite_facts
divided(const struct rewrite_facts *f)
{
    struct rewrite_facts ret = *f;
    struct path_part app = name_of_app(f), p = f->script;

    while (f->info.n == 0 && app.n > 0 && p.n > app.n) {
        p = behind(p, 1);
        if (starts_with(p, app) && p.s[-1] == '/' &&
            (p.n == app.n || p.s[app.n] == '/')) {
            ret.info = behind(p, app.n);
            ret.script.n = f->script.n - ret.info.n;
            break;
        }
    }
    return ret;
}

/* -- the rule ------------------------------------------------------------- */

struct answer {
    enum rewrite found;
    struct path_part info;
};

static const struct answer nothing = {REWRITE_NONE, {NULL, 0}};

/* If the whole path follows the script (try_files has $uri), it includes the
 * mount. */
static struct path_part
below_mount(struct path_part mount, struct path_part info)
{
    return mount.n > 0 && is_at_or_below(info, mount) ? behind(info, mount.n)
                                                      : info;
}

/* True if info is what a rewrite makes of this path. mod_rewrite decodes it
 * once more, and then ends it at a "#". */
static bool
is_made_of(struct path_part info, struct path_part path)
{
    const char *mark = path.n == 0 ? NULL : memchr(path.s, '#', path.n);
    struct path_part cut = {path.s,
                            mark == NULL ? path.n : (size_t)(mark - path.s)};

    return are_alike(info, path, true) || are_alike(info, cut, true);
}

static struct answer
with_info(struct path_part mount, const struct rewrite_facts *f, struct asked a)
{
    struct path_part below = below_mount(mount, f->info);

    if (a.certainty == ASKED_SURELY && is_at_or_below(a.path, mount) &&
        (is_made_of(f->info, behind(a.path, mount.n)) ||
         is_made_of(f->info, a.path))) {
        return (struct answer){REWRITE_UNDONE, behind(a.path, mount.n)};
    }
    if (a.certainty == ASKED_ABOUT) {
        if (joined_is_like(mount, f->info, a.path)) {
            return (struct answer){REWRITE_UNDONE, f->info};
        }
        if (below.n < f->info.n && are_alike(f->info, a.path, false)) {
            return (struct answer){REWRITE_UNDONE, below};
        }
    }
    /* /page sent to /app.cgi/page is no way into the mount /site. */
    if (a.certainty == ASKED_SURELY && !is_at_or_below(a.path, mount) &&
        !is_at_or_below(f->script, mount) && is_made_of(f->info, a.path)) {
        return nothing;
    }
    /* The URLs of the script's own folder are not the mount's, whatever sends
     * them there: the server applied none of the mount's rules. */
    if (is_divided_surely(f, a.path) &&
        (f->is_refused || (is_plain(a) && !joined_is_like(folder(f->script),
                                                          f->info, a.path)))) {
        return (struct answer){REWRITE_KEPT, below};
    }
    return nothing;
}

/* Only the script is named: the requested path must come from elsewhere. */
static struct answer
without_info(struct path_part mount, const struct rewrite_facts *f,
             struct asked a)
{
    if (!names_script(f)) {
        return nothing;
    }
    if (f->is_refused) {
        return (struct answer){REWRITE_REFUSED, {NULL, 0}};
    }
    /* A second redirect that has put the script's folder in front ("public/")
     * leads to the requested path; any other leads elsewhere. */
    if (f->is_redirected_twice &&
        (a.certainty != ASKED_SURELY ||
         !joined_is_like(folder(f->script), a.path,
                         without_host(f->redirect_url)))) {
        a = (struct asked){without_host(f->redirect_url), ASKED_SURELY};
    }
    if (a.certainty == ASKED_SURELY && !is_at_or_below(a.path, mount)) {
        return nothing; /* sent here from another path */
    }
    if (a.certainty != ASKED_SURELY || !f->is_honest) {
        return (struct answer){REWRITE_NO_PATH, {NULL, 0}};
    }
    return (struct answer){REWRITE_UNDONE, behind(a.path, mount.n)};
}

/* Without a mount: true if the requested URL lacks the script that SCRIPT_NAME
 * names, and not by chance. */
static enum rewrite
without_mount(const struct rewrite_facts *f, struct asked a)
{
    bool is_tail =
        a.path.n >= f->info.n &&
        are_alike(behind(a.path, a.path.n - f->info.n), f->info, false);

    if (!names_script(f)) {
        return REWRITE_NONE;
    }
    if (f->is_refused) {
        return f->info.n == 0 ? REWRITE_REFUSED : REWRITE_NONE;
    }
    return a.certainty != ASKED_UNKNOWN && is_tail ? REWRITE_SHOWN
                                                   : REWRITE_NONE;
}

enum rewrite
rewrite_find(const char *mount, const struct rewrite_facts *facts, char *room,
             struct path_part *ret_script, struct path_part *ret_info)
{
    struct path_part m = {mount, mount == NULL ? 0 : strlen(mount)};

    if (facts->script.n == 0 ||
        (mount != NULL && equals(without_end_slashes(facts->script), m)) ||
        (facts->info.n > 0 && facts->info.s[0] != '/')) {
        return REWRITE_NONE;
    }
    struct asked a = find_asked(facts, room);
    if (a.certainty != ASKED_UNKNOWN
            ? joined_is_like(facts->script, facts->info, a.path)
            : !facts->is_refused) {
        return REWRITE_NONE;
    }
    struct rewrite_facts f = divided(facts);
    if (mount == NULL) {
        return without_mount(&f, a);
    }
    struct answer r =
        f.info.n > 0 ? with_info(m, &f, a) : without_info(m, &f, a);
    if (r.found == REWRITE_UNDONE || r.found == REWRITE_KEPT) {
        *ret_script = m;
        *ret_info = r.info;
    }
    return r.found;
}
