/*
 * argv.c - separates the words of the command line from those of a client
 *
 * RFC 3875, 4.4: a server may split a query string without "=" at each "+",
 * decode the words and append them to the command line of the script. (Apache,
 * thttpd and mini_httpd do, lighttpd and busybox do not.) Anybody can send a
 * query, so these words must not be taken as options or APP; in php-cgi that
 * was CVE-2012-1823. The program can be started in three ways:
 *
 *   a script with a #! line   [wsgi-cgi, "its options"?, script, QUERY WORDS]
 *   a wrapper's command line  [wsgi-cgi, options, APP]  (a careless wrapper
 *                             adds "$@": then as above)
 *   the program itself, copied or linked into cgi-bin
 *                             [wsgi-cgi, QUERY WORDS]
 *
 * Words after APP do no harm: options end at APP. The third way is the
 * dangerous one, and argv alone does not distinguish it from the second. So
 * there are three rules, in this order:
 *
 * 1. If the script of the request is the file of this program, the server has
 *    started it directly, and every word belongs to the query.
 * 2. The words of the query come last. If the last words of argv are the first
 *    words of the query (servers cut long lists), they are removed. Backslashes
 *    are ignored in the comparison, since Apache puts them before characters
 *    that are special to a shell. A "=" in the query changes nothing: a server
 *    may not follow the RFC exactly.
 * 3. A check as in php-cgi, for servers that decode in a way that rule 2 does
 *    not know: if the query may be split into words and starts with "-" (or
 *    quotes and "-"), options are accepted only if the script that follows has them in its #!
 *    line.
 *
 * Rules 2 and 3 may remove words of the administrator: on a server that passes
 * no words, anybody can send a query that looks like the end of the command
 * line. After APP that does no harm. Where no APP is left, the request must be
 * refused, since without these words a client could switch off a --limit-body
 * or a --set at the end of the command line.
 */
#include "conf/argv.h"

#include "conf/shebang.h"
#include "text/url.h"

#include <assert.h>
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

/* Copies the word at *from to *to without quotes, with a NUL, and moves
 * both. */
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
    /* A word is not longer than its source, at most every second byte starts
     * one, and the last one needs a byte more for its NUL. */
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
        assert(w.n < size / 2 + 1);
        w.v[w.n++] = to;
        r = take_word(&text, &to);
        assert(to <= w.text + size + 1);
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

static bool
is_quoting(int c)
{
    return c == '\'' || c == '"' || c == '\\';
}

bool
argv_may_be_options(const char *word)
{
    return word[0] == '-' || is_quoting(word[0]);
}

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

/* -- the words of the query ------------------------------------------------ */

/* Splits at "+" and decodes. Leaves out empty words, as some servers do. */
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
        if (*word != '\0') { /* %00 ends it, as in a C string of the server */
            assert(w.n < size / 2 + 1);
            w.v[w.n++] = word;
        }
    }
    *ret_words = w;
    return 0;
}

/* True where the words are equal without backslashes. */
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

/* True where the words of argv, from first to the end, are the first words of
 * the query. */
static bool
are_from_query(char *const *argv, int first, int argc,
               const struct argv_words *w)
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

/* True for a query that a server may split into words (it has no "="), the
 * first of which starts with "-", encoded or not, after any blanks, "+", quotes
 * and backslashes. */
static bool
starts_with_dash(const char *query)
{
    if (strchr(query, '=') != NULL) {
        return false;
    }
    int c = '+';
    while (*query != '\0' && (c == '+' || c <= ' ' || is_quoting(c))) {
        int coded = url_coded_byte(query, strnlen(query, 3));
        c = coded < 0 ? (unsigned char)*query : coded;
        query += coded < 0 ? 1 : 3;
    }
    return c == '-';
}

/* True where the script of the request is the file of this program. */
static bool
runs_us_directly(void)
{
    struct stat self;
    if (stat("/proc/self/exe", &self) < 0) {
        return false;
    }
    /* mini_httpd sets no SCRIPT_FILENAME, but changes to the directory of the
     * script. */
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
    while (own < argc && !are_from_query(argv, own, argc, &words)) {
        own++;
    }
    argv_words_fini(&words);

    /* Rule 3, unless the words of the query have been found: then the words
     * before them are not from the query. */
    if (own == argc && argv_may_be_options(argv[1]) &&
        starts_with_dash(query) &&
        (argc < 3 || !argv_is_shebang(argv[1], argv[2], &is_cut))) {
        own = 1;
    }
    assert(own >= 1 && own <= argc);
    *ret_in_doubt = own < argc;
    return own;
}
