/*
 * argv.c - whose words stand in argv: the administrator's or the client's
 *
 * RFC 3875, 4.4: a server may split a query string without "=" at its "+",
 * decode the words and append them to the command line of the script. (Apache,
 * thttpd and mini_httpd do, lighttpd and busybox do not.) Anybody can write a
 * query, so those words must be neither options nor APP; php-cgi learned it as
 * CVE-2012-1823. There are three ways to be run:
 *
 *   a script with a #! line   [wsgi-cgi, "its options"?, script, QUERY WORDS]
 *   a wrapper's command line  [wsgi-cgi, options, APP]  (a careless wrapper
 *                             adds "$@": then as above)
 *   the program itself, copied or linked into cgi-bin
 *                             [wsgi-cgi, QUERY WORDS]
 *
 * Where APP stands before the query's words, they are never looked at: options
 * end at APP. What has to be caught is the third way, and nothing in argv alone
 * tells it from the second. So, in this order:
 *
 * 1. Where the request's script is the very file that is running, the server
 *    has run us directly and every word is the query's.
 * 2. The query's words stand last. Where the last words of argv are the first
 *    words of the query (servers cut long lists), they are dropped. Compared
 *    without backslashes, since Apache puts them before what a shell would act
 *    on. This does not ask for a missing "=": a server may be sloppier than
 *    the RFC.
 * 3. php-cgi's guard, for servers that decode in a way rule 2 does not know:
 *    where the query could be words and begins with "-", options are believed
 *    only when the script that follows has them in its own #! line.
 *
 * Rules 2 and 3 may hit words that are the administrator's after all: on a
 * server that passes no words anybody can write a query that looks like the end
 * of the command line. Behind APP that costs nothing. Where no APP is left the
 * request is in doubt and must be refused: going on without those words would
 * let a client switch off a --limit-body or a --set that stood last.
 */
#include "conf/argv.h"

#include "base/url.h"
#include "conf/shebang.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHEBANG_MAX = 512 };

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* -- splitting ------------------------------------------------------------- */

/* Unquotes the word at *from to *to, NUL included; both move on. */
static int
take_word(const char **from, char **to)
{
    const char *s = *from;
    char *d = *to;
    char quote = '\0';
    for (; *s != '\0' && (quote != '\0' || !is_blank(*s)); s++) {
        if (quote != '\0' && *s == quote) {
            quote = '\0';
        }
        else if (quote == '\0' && (*s == '\'' || *s == '"')) {
            quote = *s;
        }
        else if (*s == '\\' && quote == '\0') {
            if (*++s == '\0') {
                return -EINVAL;
            }
            *d++ = *s;
        }
        else if (*s == '\\' && quote == '"' && (s[1] == '"' || s[1] == '\\')) {
            *d++ = *++s;
        }
        else {
            *d++ = *s;
        }
    }
    if (quote != '\0') {
        return -EINVAL;
    }
    *d++ = '\0';
    *from = s;
    *to = d;
    return 0;
}

int
argv_split(const char *text, struct argv_words *ret_words)
{
    /* Words are never longer than their source; at most every second byte
     * starts one. One byte more: the last word's NUL. */
    size_t size = strlen(text);
    struct argv_words w = {.v = calloc(size / 2 + 1, sizeof(*w.v)),
                           .text = malloc(size + 1)};
    int r = w.v == NULL || w.text == NULL ? -ENOMEM : 0;
    char *to = w.text;
    while (r == 0) {
        while (is_blank(*text)) {
            text++;
        }
        if (*text == '\0') {
            break;
        }
        w.v[w.n++] = to;
        r = take_word(&text, &to);
    }
    if (r < 0) {
        argv_words_fini(&w);
        return r;
    }
    *ret_words = w;
    return 0;
}

void
argv_words_fini(struct argv_words *w)
{
    free(w->v);
    free(w->text);
    *w = (struct argv_words){0};
}

/* -- #! lines -------------------------------------------------------------- */

bool
argv_is_shebang(const char *word, const char *script, bool *ret_is_cut)
{
    char line[SHEBANG_MAX];
    enum shebang_before before;
    const char *program, *s;
    size_t n;

    *ret_is_cut = false;
    if (!shebang_read(script, line, sizeof(line), &before) ||
        before != SHEBANG_IS_FIRST) {
        return false;
    }
    shebang_divide(line, &program, &n, &s);
    size_t length = strlen(word);
    if (length == 0 || strncmp(s, word, length) != 0) {
        return false;
    }
    s += length;
    *ret_is_cut = s[strspn(s, " \t\r")] != '\0';
    return !*ret_is_cut || s - line >= SHEBANG_OLD_KERNEL;
}

/* -- the query's words ----------------------------------------------------- */

/* Splits at "+" and decodes; empty words are left out, some servers do that. */
static int
query_words(const char *query, struct argv_words *ret_words)
{
    size_t size = strlen(query);
    struct argv_words w = {.v = calloc(size / 2 + 1, sizeof(*w.v)),
                           .text = strdup(query)};
    if (w.v == NULL || w.text == NULL) {
        argv_words_fini(&w);
        return -ENOMEM;
    }
    char *rest = w.text;
    char *word;
    while ((word = strsep(&rest, "+")) != NULL) {
        if (*word == '\0') {
            continue;
        }
        word[url_decode(word, strlen(word))] = '\0';
        if (*word != '\0') { /* %00 ends it, as in the servers' C strings */
            w.v[w.n++] = word;
        }
    }
    *ret_words = w;
    return 0;
}

/* Equal but for backslashes. */
static bool
same_word(const char *a, const char *b)
{
    for (;; a++, b++) {
        a += strspn(a, "\\");
        b += strspn(b, "\\");
        if (*a != *b || *a == '\0') {
            return *a == *b;
        }
    }
}

/* True where the words of argv from first on are the query's first words. */
static bool
are_querys(char *const *argv, int first, int argc, const struct argv_words *w)
{
    size_t q = 0;
    for (int i = first; i < argc; i++) {
        if (argv[i][0] == '\0') {
            continue;
        }
        if (q == w->n || !same_word(argv[i], w->v[q])) {
            return false;
        }
        q++;
    }
    return q > 0;
}

/* True for a query that a server may turn into words (no "=") of which the
 * first begins with "-", plain or encoded, after any blanks and "+". */
static bool
begins_with_dash(const char *query)
{
    if (strchr(query, '=') != NULL) {
        return false;
    }
    int c = '+';
    while (*query != '\0' && (c == '+' || c <= ' ')) {
        int coded = url_coded_byte(query, strlen(query));
        c = coded < 0 ? (unsigned char)*query : coded;
        query += coded < 0 ? 1 : 3;
    }
    return c == '-';
}

/* True where the script the server says it runs is our own executable file. */
static bool
runs_us_directly(void)
{
    struct stat self;
    if (stat("/proc/self/exe", &self) < 0) {
        return false;
    }
    /* mini_httpd sets no SCRIPT_FILENAME; the script is in the current folder
     * then. */
    const char *name = getenv("SCRIPT_NAME");
    const char *slash = name != NULL ? strrchr(name, '/') : NULL;
    const char *paths[] = {getenv("SCRIPT_FILENAME"),
                           slash != NULL ? slash + 1 : name};
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        struct stat st;
        if (paths[i] != NULL && stat(paths[i], &st) == 0 &&
            st.st_dev == self.st_dev && st.st_ino == self.st_ino) {
            return true;
        }
    }
    return false;
}

int
argv_trusted(int argc, char **argv, bool *ret_in_doubt)
{
    *ret_in_doubt = false;
    if (argc <= 1 || runs_us_directly()) {
        return 1; /* rule 1 */
    }
    const char *query = getenv("QUERY_STRING");
    if (query == NULL || *query == '\0') {
        return argc;
    }
    struct argv_words words;
    if (query_words(query, &words) < 0) {
        *ret_in_doubt = true;
        return 1;
    }
    bool is_cut;
    int own = 1; /* rule 2 */
    while (own < argc && !are_querys(argv, own, argc, &words)) {
        own++;
    }
    argv_words_fini(&words);

    /* Rule 3, unless the query's words have been found: what stands before
     * them is not the query's. */
    if (own == argc && argv[1][0] == '-' && begins_with_dash(query) &&
        (argc < 3 || !argv_is_shebang(argv[1], argv[2], &is_cut))) {
        own = 1;
    }
    *ret_in_doubt = own < argc;
    return own;
}
