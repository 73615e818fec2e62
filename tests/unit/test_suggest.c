/*
 * test_suggest.c - conf/suggest and conf/other_programs, with the program's own
 *                  table of options
 */
#include "unit.h"

#include "conf/options.h"
#include "conf/other_programs.h"

#include <stdbool.h>
#include <sysexits.h>

static char message[4096];

/* Parses one word, then APP. */
static int
parse(const char *option)
{
    static char program[] = "wsgi-cgi", app[] = "app.py";
    char *word = strdup(option);
    assert_non_null(word);
    char *argv[] = {program, word, app, app, NULL};
    struct config config;
    struct capture capture;
    capture_start(&capture);
    int r = options_parse(4, argv, false, &config);
    capture_end(&capture, message, sizeof(message));
    config_fini(&config);
    free(word);
    return r;
}

/* True where the table has an option of this name. */
static bool
is_ours(const char *name, size_t n)
{
    char word[100];
    (void)snprintf(word, sizeof(word), "--%.*s", (int)n, name);
    return parse(word) == 0 || strstr(message, "unknown option") == NULL;
}

static void
expect(const char *word, const char *tail)
{
    char line[400];
    (void)snprintf(line, sizeof(line), "error: unknown option \"%.*s\"%s\n",
                   (int)strcspn(word, "="), word, tail);
    assert_int_equal(parse(word), EX_USAGE);
    if (strstr(message, line) == NULL) {
        fail_msg("not \"%s\" but %s", line, message);
    }
}

static void
test_misspellings(void **state UNUSED)
{
    static const struct {
        const char *word, *meant;
    } cases[] = {
        {"--thread=4", "--threads"},
        {"--threadsx", "--threads"},
        {"--htreads", "--threads"},
        {"--treads", "--threads"},
        {"--THREADS", "--threads"},
        {"--proceses", "--processes"},
        {"--bnid", "--bind"},
        {"--chek", "--check"},
        {"--max_requests=5", "--max-requests"},
        {"--max-request-jitter", "--max-requests-jitter"},
        {"--log.level", "--log-level"},
        {"--body-limit=1m", "--limit-body"},
        {"--path-status", "--status-path"},
        {"--mounts", "--mount"},
        {"--limit-h", "--limit-head"},
        {"--threads-", "--threads"},
        {"-threads=4", "--threads"},
        {"-venv", "--venv"},
        {"-bind", "--bind"},
        {"-preload", "--preload"},
        {"-help", "--help"},
        {"-version", "--version"},
        {"--limit", "--limit-head, --limit-vars or --limit-body"},
        {"--max-requests-", "--max-requests-jitter"},
        {"--pi", "--pid-file, --ping-path or --ping"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char tail[200];
        (void)snprintf(tail, sizeof(tail),
                       ": did you mean %s? See wsgi-cgi --help",
                       cases[i].meant);
        expect(cases[i].word, tail);
    }
}

static void
test_what_is_near_to_nothing(void **state UNUSED)
{
    static const char *const words[] = {
        "--nonsense", "--no-such-option",
        "--xyz",      "--x",
        "-X",         "-",
        "--=4",       "--q=--threads",
        "--a-",       "--a-very-long-name-that-no-program-has-at-all",
        "--log--",    "---"};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        assert_int_equal(parse(words[i]), EX_USAGE);
        if (strstr(message, "\"; see wsgi-cgi --help\n") == NULL) {
            fail_msg("%s: %s", words[i], message);
        }
    }
}

/* The names in the issue of people who come from other programs. */
static void
test_other_programs(void **state UNUSED)
{
    static const struct {
        const char *word, *use;
    } cases[] = {
        {"--workers=4", "use --processes"},
        {"--worker=4", "use --processes"},
        {"--mem-limit=1g", "use --max-memory"},
        {"--memory", "use --max-memory"},
        {"--upload-limit", "use --limit-body"},
        {"--unix", "use --bind"},
        {"--error-page", "let the web server replace error pages "
                         "(fastcgi_intercept_errors of nginx, "
                         "ProxyErrorOverride of Apache); for tracebacks use "
                         "--debug"},
        {"--pm.max_children", "use --processes"},
        {"--virtualenv", "use --venv"},
        {"--uid", "use --user"},
        {"--gid=33", "use --group"},
        {"--harakiri", "use --request-timeout"},
        {"--request_terminate_timeout", "use --request-timeout"},
        {"--pythonpath", "use --python-path"},
        {"--pp", "use --python-path"},
        {"--socket", "use --bind"},
        {"--listen.owner", "use --socket-owner"},
        {"--chmod-socket=666", "use --socket-mode"},
        {"--raw-env", "use --env"},
        {"--wsgi-file", "write it as APP, after the options"},
        {"--daemonize=x",
         "it stays in the foreground: use systemd, supervisor or spawn-fcgi"},
        {"--http", "it speaks FastCGI and CGI, not HTTP: put a web server "
                   "before it (wsgi-cgi-servers(7))"},
        {"-w4", "use --processes (-w of gunicorn), or write the module as APP "
                "(-w of uWSGI)"},
        {"-s", "use --bind"},
        {"-v", "use --version"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char tail[300];
        (void)snprintf(tail, sizeof(tail), ": %s; see wsgi-cgi --help",
                       cases[i].use);
        expect(cases[i].word, tail);
    }
}

static void
check_name(const char *name, size_t n, const char *use)
{
    char word[100], whole[90];
    (void)snprintf(whole, sizeof(whole), "%.*s", (int)n, name);
    (void)snprintf(word, sizeof(word), "%s%s", name[0] == '-' ? "" : "--",
                   whole);
    for (size_t i = name[0] == '-'; i < n; i++) {
        if (strchr("abcdefghijklmnopqrstuvwxyz0123456789-", name[i]) == NULL &&
            n != 2) {
            fail_msg("%s: not as suggest_option() looks it up", word);
        }
    }
    /* The first row with this name must be this one. */
    if (other_programs_find(whole) != use) {
        fail_msg("%s is there twice", word);
    }
    if (parse(word) != EX_USAGE || strstr(message, use) == NULL ||
        strstr(message, "unknown option") == NULL) {
        fail_msg("%s is an option of ours: %s", word, message);
    }
}

/* Every "--name" in a text is an option that exists. */
static void
check_use(const char *use)
{
    for (const char *s = use; (s = strstr(s, "--")) != NULL;) {
        s += 2;
        size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz-");
        if (!is_ours(s, n)) {
            fail_msg("--%.*s does not exist: %s", (int)n, s, use);
        }
        s += n;
    }
}

static void
test_the_table_of_other_programs(void **state UNUSED)
{
    size_t nrows;
    const struct other_program_row *rows = other_programs(&nrows);
    assert_true(nrows > 50);
    for (size_t i = 0; i < nrows; i++) {
        assert_true(strlen(rows[i].use) < SUGGEST_SIZE);
        check_use(rows[i].use);
        for (const char *s = rows[i].names; *s != '\0'; s += strspn(s, " ")) {
            size_t n = strcspn(s, " ");
            check_name(s, n, rows[i].use);
            s += n;
        }
    }
}

static void
test_a_known_option_needs_no_suggestion(void **state UNUSED)
{
    char meant[SUGGEST_SIZE];
    options_suggest("--threads=4", meant);
    assert_string_equal(meant, "");
    options_suggest("--threads", meant);
    assert_string_equal(meant, "");
    options_suggest("-t4", meant);
    assert_string_equal(meant, "");
    options_suggest("-", meant);
    assert_string_equal(meant, "");
    options_suggest("--workers=4", meant);
    assert_string_equal(meant, "use --processes");
    options_suggest("--thread", meant);
    assert_string_equal(meant, "did you mean --threads?");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_misspellings),
        cmocka_unit_test(test_what_is_near_to_nothing),
        cmocka_unit_test(test_other_programs),
        cmocka_unit_test(test_the_table_of_other_programs),
        cmocka_unit_test(test_a_known_option_needs_no_suggestion),
    };
    return cmocka_run_group_tests_name("suggest", tests, NULL, NULL);
}
