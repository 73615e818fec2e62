/*
 * suggest.c - what was probably meant by an unknown option
 */
#include "conf/suggest.h"

#include "conf/other_programs.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
    NAME_SIZE = 32, /* longer names are near to none */
    NEAR_MAX = 2,   /* changes of one letter */
    FOUND_MAX = 3   /* options in one suggestion */
};

struct found {
    const char *names[FOUND_MAX];
    size_t n; /* may be larger: then they are too many */
};

static char
as_written_here(char c)
{
    static const char large[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_.";
    static const char here[] = "abcdefghijklmnopqrstuvwxyz--";
    const char *at = c == '\0' ? NULL : strchr(large, c);
    if (at == NULL) {
        return c;
    }
    return here[at - large];
}

/* Copies the name without dashes and value, as it would be written here.
 * False where it is empty or too long. */
static bool
read_name(const char *word, char to[NAME_SIZE])
{
    word += strspn(word, "-");
    size_t n = strcspn(word, "=");
    if (n == 0 || n >= NAME_SIZE) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        to[i] = as_written_here(word[i]);
    }
    to[n] = '\0';
    return true;
}

static void
add(struct found *f, const char *name)
{
    if (f->n < FOUND_MAX) {
        f->names[f->n] = name;
    }
    f->n++;
}

/* -- kinds of likeness ----------------------------------------------------- */

static bool
is_same(const char *have, const char *name)
{
    return strcmp(have, name) == 0;
}

/* "limit" and "max-mem" are the starts of options. */
static bool
is_start(const char *have, const char *name)
{
    size_t n = strlen(name);
    return n > 1 && strncmp(have, name, n) == 0;
}

/* "body-limit" for "limit-body". */
static bool
is_swapped(const char *have, const char *name)
{
    const char *dash = strchr(name, '-');
    size_t n = strlen(name);
    if (dash == NULL || strlen(have) != n) {
        return false;
    }
    size_t first = (size_t)(dash - name), second = n - first - 1;
    return strncmp(have, dash + 1, second) == 0 && have[second] == '-' &&
           strcmp(have + second + 1, "") != 0 &&
           strncmp(have + second + 1, name, first) == 0;
}

static unsigned
smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* The number of letters to insert, remove, replace or swap with the next one. */
static unsigned
distance(const char *a, const char *b)
{
    unsigned rows[3][NAME_SIZE];
    unsigned *before = rows[0], *last = rows[1], *now = rows[2];
    size_t n = strlen(b);
    assert(n < NAME_SIZE);
    for (size_t k = 0; k <= n; k++) {
        last[k] = before[k] = (unsigned)k;
    }
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        now[0] = (unsigned)i;
        for (size_t k = 1; k <= n; k++) {
            unsigned cost = a[i - 1] != b[k - 1];
            now[k] =
                smaller(smaller(last[k], now[k - 1]) + 1, last[k - 1] + cost);
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] &&
                a[i - 2] == b[k - 1]) {
                now[k] = smaller(now[k], before[k - 2] + 1);
            }
        }
        unsigned *oldest = before;
        before = last;
        last = now;
        now = oldest;
    }
    return last[n];
}

/* In a short name, one other letter makes another word. */
static bool
is_near(const char *have, const char *name)
{
    size_t n = strlen(name);
    unsigned allowed = n < 4 ? 0 : n < 6 ? 1 : NEAR_MAX;
    return strlen(have) < NAME_SIZE && distance(have, name) <= allowed;
}

/* -- the suggestion -------------------------------------------------------- */

static void
find(struct found *f, const struct option_row *rows, size_t nrows,
     const char *name, bool (*is_like)(const char *have, const char *name))
{
    for (size_t i = 0; i < nrows && name[0] != '\0'; i++) {
        if (rows[i].name != NULL && is_like(rows[i].name, name)) {
            add(f, rows[i].name);
        }
    }
    if (f->n > FOUND_MAX) {
        f->n = 0;
    }
}

static void
write_found(const struct found *f, char to[SUGGEST_SIZE])
{
    size_t used = 0;
    for (size_t i = 0; i < f->n && used < SUGGEST_SIZE; i++) {
        int n = snprintf(to + used, SUGGEST_SIZE - used, "%s--%s%s",
                         i == 0          ? "did you mean "
                         : i + 1 == f->n ? " or "
                                         : ", ",
                         f->names[i], i + 1 == f->n ? "?" : "");
        used += n > 0 ? (size_t)n : 0;
    }
}

void
suggest_option(const struct option_row *rows, size_t nrows, const char *word,
               char to[SUGGEST_SIZE])
{
    static bool (*const kinds[])(const char *, const char *) = {
        is_swapped, is_start, is_near};
    struct found f = {.n = 0};
    char name[NAME_SIZE];
    char letter[3] = "";
    bool is_short = word[0] == '-' && word[1] != '-' && word[1] != '\0';
    const char *use = NULL;

    to[0] = '\0';
    if (!read_name(word, name)) {
        return;
    }
    if (is_short) {
        memcpy(letter, word, 2);
    }
    find(&f, rows, nrows, name, is_same);
    if (f.n == 0) {
        use = other_programs_find(is_short && name[1] == '\0' ? letter : name);
    }
    for (size_t i = 0; f.n == 0 && use == NULL && i < ARRAY_SIZE(kinds); i++) {
        find(&f, rows, nrows, name, kinds[i]);
    }
    if (f.n == 0 && use == NULL && is_short) {
        use = other_programs_find(letter);
    }
    if (use != NULL) {
        (void)snprintf(to, SUGGEST_SIZE, "%s", use);
    }
    write_found(&f, to);
}
