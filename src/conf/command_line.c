/*
 * command_line.c - words of the command line, as a table of options reads them
 *
 * It does not use getopt_long(), which accepts abbreviations (so that a new
 * option can make an old command line ambiguous) and has a global state, while
 * up to three lists of words are parsed here.
 */
#include "conf/command_line.h"

#include "conf/argv.h"
#include "conf/suggest.h"
#include "os/log.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sysexits.h>

/* -- options --------------------------------------------------------------- */

static const struct option_row *
find_name(const struct command_line *l, const char *name, size_t n)
{
    for (size_t i = 0; i < l->nrows; i++) {
        const char *have = l->rows[i].name;
        if (have != NULL && strncmp(have, name, n) == 0 && have[n] == '\0') {
            return &l->rows[i];
        }
    }
    return NULL;
}

static const struct option_row *
find_letter(const struct command_line *l, char letter)
{
    for (size_t i = 0; i < l->nrows; i++) {
        if (letter != '\0' && l->rows[i].letter == letter) {
            return &l->rows[i];
        }
    }
    return NULL;
}

static int
apply(const struct command_line *l, const struct option_row *row,
      const char *value, const char *where)
{
    struct config *c = l->config;
    assert(row->set != NULL && row->field < sizeof *c);
    assert(row->arg == NULL || row->expected != NULL);
    int r = row->set(row, (char *)c + row->field, value);
    if (r == -ENOMEM) {
        log_error("%sout of memory", where);
        return EX_OSERR;
    }
    if (r < 0) {
        log_error("%s--%s: invalid value \"%s\": expected %s", where, row->name,
                  value, row->expected);
        return EX_USAGE;
    }
    return 0;
}

/* Finds the row of a word that starts with "-"; NULL: it is unknown. *ret_value
 * is the value in the same word ("--name=value", "-bvalue"), or NULL. */
static const struct option_row *
recognise(const struct command_line *l, const char *word,
          const char **ret_value)
{
    const struct option_row *row;
    if (word[1] == '-') {
        size_t n = strcspn(word + 2, "=");
        row = find_name(l, word + 2, n);
        *ret_value = word[2 + n] == '=' ? word + 2 + n + 1 : NULL;
        return row;
    }
    if (find_name(l, word + 1, strcspn(word + 1, "=")) != NULL) {
        return NULL; /* "-threads" is not -t with the value "hreads" */
    }
    row = find_letter(l, word[1]);
    *ret_value = word[1] != '\0' && word[2] != '\0' ? word + 2 : NULL;
    /* Letters cannot be combined: those without a value end the parsing. */
    return row != NULL && row->arg == NULL && *ret_value != NULL ? NULL : row;
}

static int
refuse_unknown(const struct command_line *l, const char *word,
               const char *where)
{
    char meant[SUGGEST_SIZE];
    suggest_option(l->rows, l->nrows, word, meant);
    size_t n = strlen(meant);
    log_error("%sunknown option \"%.*s\"%s%s%s wsgi-cgi --help", where,
              (int)strcspn(word, "="), word, n > 0 ? ": " : "", meant,
              n > 0 && meant[n - 1] == '?' ? " See" : "; see");
    return EX_USAGE;
}

static void
note_asking(struct command_line *l, const struct option_row *row,
            const char *where)
{
    for (size_t i = 0; i < l->nasking; i++) {
        if (l->asking[i] == row) {
            return;
        }
    }
    assert(l->nasking < COMMAND_LINE_ASKING_MAX);
    l->asking[l->nasking] = row;
    l->asking_where[l->nasking++] = where;
}

/* Parses the option at the front of n words. *ret_used: 1, or 2 where the value
 * is the next word. */
static int
parse_option(struct command_line *l, char *const *words, size_t n,
             const char *where, size_t *ret_used)
{
    const char *value;
    const struct option_row *row = recognise(l, words[0], &value);
    *ret_used = 1;
    if (row == NULL) {
        return refuse_unknown(l, words[0], where);
    }
    if (row->arg == NULL && value != NULL) {
        log_error("%s--%s: unexpected value \"%s\": it takes none", where,
                  row->name, value);
        return EX_USAGE;
    }
    if (row->arg != NULL && value == NULL) {
        if (n < 2) {
            log_error("%s--%s: missing value: expected %s", where, row->name,
                      row->expected);
            return EX_USAGE;
        }
        value = words[1];
        *ret_used = 2;
    }
    if (row->only_for != 0) {
        note_asking(l, row, where);
    }
    return apply(l, row, value, where);
}

/* After --help or --version, no other word matters. */
static bool
is_answered(const struct config *c)
{
    return c->action == ACTION_HELP || c->action == ACTION_VERSION;
}

/* Parses options up to another word. *ret_used is the index of that word, or
 * n. */
static int
parse_words(struct command_line *l, char *const *words, size_t n,
            const char *where, size_t *ret_used)
{
    size_t i = 0;
    while (i < n && words[i][0] == '-' && !is_answered(l->config)) {
        if (strcmp(words[i], "--") == 0) {
            i++;
            break;
        }
        size_t used;
        int r = parse_option(l, words + i, n - i, where, &used);
        if (r != 0) {
            return r;
        }
        i += used;
    }
    assert(i <= n);
    *ret_used = i;
    return 0;
}

int
command_line_defaults(const struct command_line *l)
{
    for (size_t i = 0; i < l->nrows; i++) {
        if (l->rows[i].default_value != NULL) {
            int r =
                apply(l, &l->rows[i], l->rows[i].default_value, "default: ");
            if (r != 0) {
                return r;
            }
        }
    }
    return 0;
}

int
command_line_text(struct command_line *l, const char *text, const char *where)
{
    struct argv_words words;
    int r = argv_split(text, &words);
    if (r < 0) {
        log_error("%s%s: \"%s\"", where,
                  r == -ENOMEM ? "out of memory"
                               : "missing closing quote, or \"\\\" at the end",
                  text);
        return r == -ENOMEM ? EX_OSERR : EX_USAGE;
    }
    size_t used;
    r = parse_words(l, words.v, words.n, where, &used);
    if (r == 0 && used < words.n && !is_answered(l->config)) {
        log_error("%sunexpected \"%s\": expected only options", where,
                  words.v[used]);
        r = EX_USAGE;
    }
    argv_words_fini(&words);
    return r;
}

/* -- argv ------------------------------------------------------------------ */

/* Two blanks, or a variable that is empty, where the command line is
 * written.  */
static int
refuse_empty_app(char *const *words, size_t n)
{
    log_error("APP: invalid value \"\"%s%s%s: expected a file, "
              "MODULE[:CALLABLE] or MODULE:FACTORY(); does the command line "
              "have two blanks, or an empty variable?",
              n > 1 ? " before \"" : "", n > 1 ? words[1] : "",
              n > 1 ? "\"" : "");
    return EX_USAGE;
}

static int
set_word(const char **field, const char *word)
{
    if (value_copy(field, word, strlen(word)) < 0) {
        log_error("out of memory");
        return EX_OSERR;
    }
    return 0;
}

/* APP, and the word after it. */
static int
take_app(struct config *c, char *const *words, size_t n)
{
    if (n == 0) {
        return 0;
    }
    if (*words[0] == '\0') {
        return refuse_empty_app(words, n);
    }
    int r = set_word(&c->app, words[0]);
    return r == 0 && n > 1 ? set_word(&c->ignored, words[1]) : r;
}

/* --status and --ping look like what turns these pages on. */
static int
refuse_operand(enum config_action action, const char *word)
{
    const char *hint =
        action == ACTION_STATUS
            ? "; --status asks a running server: to serve a status page use "
              "--status-path or --control"
        : action == ACTION_PING
            ? "; --ping asks a running server: to answer health checks use "
              "--ping-path or --control"
            : "";
    log_error("unexpected \"%s\": expected only options%s", word, hint);
    return EX_USAGE;
}

/* The words after the options: METHOD PATH and more options; or APP, after
 * which no word is parsed. */
static int
parse_operands(struct command_line *l, char *const *words, size_t n)
{
    struct config *c = l->config;
    size_t used = 0;
    int r = 0;
    switch (c->action) {
    case ACTION_REQUEST:
        if (n < 2) {
            return 0; /* the caller logs it */
        }
        r = set_word(&c->method, words[0]);
        r = r == 0 ? set_word(&c->path, words[1]) : r;
        r = r == 0 ? parse_words(l, words + 2, n - 2, "", &used) : r;
        used += 2;
        break;
    case ACTION_PING:
    case ACTION_STATUS:
    case ACTION_WARM_LIST:
    case ACTION_WARM_STOP:
        break;
    case ACTION_RUN:
    case ACTION_CHECK:
    case ACTION_EXPLAIN:
        return take_app(c, words, n);
    case ACTION_HELP:
    case ACTION_VERSION:
        return 0;
    }
    return r == 0 && used < n && !is_answered(c)
               ? refuse_operand(c->action, words[used])
               : r;
}

/* The option that was cut off may have been a limit, so the start fails. */
static int
refuse_cut(const char *word)
{
    size_t n = strlen(word);
    log_error("in the #! line: it is longer than the kernel reads, and was cut "
              "after \"%s\"; put options into " CONFIG_OPTIONS,
              word + (n > 20 ? n - 20 : 0));
    return EX_USAGE;
}

int
command_line_argv(struct command_line *l, int argc, char **argv)
{
    char *const *words = argv + 1;
    size_t n = (size_t)argc - 1;
    size_t used = 1;
    bool is_cut;
    int r;
    if (is_answered(l->config)) {
        return 0;
    }
    if (n >= 2 && argv_may_be_options(words[0]) &&
        argv_is_shebang(words[0], words[1], &is_cut)) {
        l->config->is_shebang = true;
        r = is_cut ? refuse_cut(words[0])
                   : command_line_text(l, words[0], "in the #! line: ");
    }
    else {
        r = parse_words(l, words, n, "", &used);
    }
    l->config->options_end = 1 + (int)used;
    return r == 0 ? parse_operands(l, words + used, n - used) : r;
}

int
command_line_check(const struct command_line *l)
{
    enum config_action action = l->config->action;
    bool serves = action == ACTION_RUN || action == ACTION_CHECK ||
                  action == ACTION_EXPLAIN;
    for (size_t i = 0; i < l->nasking && !is_answered(l->config); i++) {
        const struct option_row *row = l->asking[i];
        if ((row->only_for >> action & 1) == 0) {
            log_error("%s--%s: it is only for %s%s%s", l->asking_where[i],
                      row->name, row->only_with, serves ? "; " : "",
                      serves ? row->instead : "");
            return EX_USAGE;
        }
    }
    return 0;
}
