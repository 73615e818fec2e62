/*
 * test_argv.c - conf/argv: what a query string can put into argv stays there
 *
 * C14 (RFC 3875, 4.4; CVE-2012-1823). Each case is an argv as some server and
 * the kernel make it, and how many of its words may be believed. What the
 * option parser does with them is in test_options.c and at the end of this
 * file.
 */
#include "unit.h"

#include "conf/argv.h"
#include "conf/options.h"

#include <limits.h>
#include <stdbool.h>
#include <sysexits.h>

enum { WORDS_MAX = 8 };

static char folder[] = "/tmp/wsgi-cgi-unit.XXXXXX";
static char self[PATH_MAX]; /* the file of the running program */

static void
write_script(const char *name, const char *text)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int
set_up(void **state UNUSED)
{
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n < 0 || mkdtemp(folder) == NULL || chdir(folder) < 0) {
        return -1;
    }
    write_script("app.py", "#!/usr/bin/wsgi-cgi --threads 4 --debug\nx\n");
    write_script("plain.py", "#!/usr/bin/wsgi-cgi\nx\n");
    write_script("one.py", "#! /usr/bin/wsgi-cgi \t --debug \r\nx\n");
    write_script("quoted.py", "#!/w '--set=A=b c' --debug\nx\n");
    write_script("module.py", "x = 1\n");
    write_script("empty.py", "");
    return symlink(self, "link.cgi");
}

static int
tear_down(void **state UNUSED)
{
    static const char *const names[] = {
        "app.py",    "plain.py", "one.py",   "quoted.py",
        "module.py", "empty.py", "link.cgi", "long.py",
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        (void)unlink(names[i]);
    }
    return chdir("/") == 0 ? rmdir(folder) : -1;
}

static int
clear_environment(void **state UNUSED)
{
    (void)unsetenv("SCRIPT_FILENAME");
    (void)unsetenv("SCRIPT_NAME");
    return unsetenv("QUERY_STRING");
}

/* -- argv_trusted ---------------------------------------------------------- */

struct argv_case {
    const char *words[WORDS_MAX]; /* after argv[0] */
    const char *query;            /* NULL = not set */
    int own;                      /* words of the administrator */
};

static void
check(const struct argv_case *cases, size_t ncases, bool is_direct)
{
    for (size_t i = 0; i < ncases; i++) {
        char *argv[WORDS_MAX + 2] = {strdup("wsgi-cgi")};
        int argc = 1;
        for (; argc <= WORDS_MAX && cases[i].words[argc - 1]; argc++) {
            argv[argc] = strdup(cases[i].words[argc - 1]);
            assert_non_null(argv[argc]);
        }
        if (cases[i].query != NULL) {
            assert_int_equal(setenv("QUERY_STRING", cases[i].query, 1), 0);
        }
        else {
            assert_int_equal(unsetenv("QUERY_STRING"), 0);
        }
        bool in_doubt;
        int own = argv_trusted(argc, argv, &in_doubt) - 1;
        if (own != cases[i].own) {
            fail_msg("case %zu, ?%s: %d words believed, not %d", i,
                     cases[i].query, own, cases[i].own);
        }
        /* Only where the server runs us itself nothing else can be meant. */
        assert_true(in_doubt == (own < argc - 1 && !is_direct));
        for (int n = 0; n < argc; n++) {
            free(argv[n]);
        }
    }
}

/* [wsgi-cgi, "its options"?, script, QUERY WORDS], as the kernel makes it. */
static void
test_a_script_with_a_shebang_line(void **state UNUSED)
{
    static const struct argv_case cases[] = {
        {{"plain.py"}, NULL, 1},
        {{"plain.py"}, "", 1},
        {{"plain.py"}, "a=1&b=2", 1},
        {{"--threads 4 --debug", "app.py"}, "a=1", 2},
        /* Apache, thttpd, mini_httpd add the query's words ... */
        {{"plain.py", "x", "y"}, "x+y", 1},
        {{"plain.py", "-h"}, "-h", 1},
        {{"--threads 4 --debug", "app.py", "-h"}, "-h", 2},
        {{"--threads 4 --debug", "app.py", "--venv", "/tmp"}, "--venv+/tmp", 2},
        {{"--debug", "one.py", "--help"}, "%2d-help", 2},
        {{"'--set=A=b c' --debug", "quoted.py", "-h"}, "-h", 2},
        /* ... lighttpd and busybox do not. */
        {{"'--set=A=b c' --debug", "quoted.py"}, "-h", 2},
        {{"'--set=A=b c' --debug", "quoted.py"}, "'-h", 2},
        {{"plain.py"}, "-h", 1},
        {{"--threads 4 --debug", "app.py"}, "-h", 2},
        {{"--debug", "one.py"}, "--help", 2},
        {{"--debug", "one.py"}, "%2D%2Dhelp", 2},
        {{"plain.py"}, "x+y", 1},
        /* A query that repeats the script: one word is dropped, not both. */
        {{"plain.py", "plain.py"}, "plain.py", 1},
        {{"plain.py", "plain.py", "plain.py"}, "plain.py+plain.py", 1},
    };
    check(cases, ARRAY_SIZE(cases), false);
}

/* [wsgi-cgi, QUERY WORDS] where the server says which script it runs. */
static void
test_the_program_itself_in_cgi_bin(void **state UNUSED)
{
    static const struct argv_case cases[] = {
        {{NULL}, "", 0},
        {{"-h"}, "-h", 0},
        {{"app.py"}, "app.py", 0},
        {{"/etc/passwd"}, "/etc/passwd", 0},
        {{"--threads 4 --debug", "app.py"},
         "--threads%204%20--debug+app.py",
         0},
        {{"", ""}, "+", 0},
        /* whatever the server's way of decoding is */
        {{"app.py"}, "something-else", 0},
        {{"--debug"}, "a=1", 0},
        {{"--debug"}, NULL, 0},
    };
    assert_int_equal(setenv("SCRIPT_FILENAME", self, 1), 0);
    check(cases, ARRAY_SIZE(cases), true);
    assert_int_equal(setenv("SCRIPT_FILENAME", "link.cgi", 1), 0);
    check(cases, ARRAY_SIZE(cases), true);
    /* mini_httpd: no SCRIPT_FILENAME, but it changes into the folder. */
    assert_int_equal(unsetenv("SCRIPT_FILENAME"), 0);
    assert_int_equal(setenv("SCRIPT_NAME", "/cgi-bin/link.cgi", 1), 0);
    check(cases, ARRAY_SIZE(cases), true);
    assert_int_equal(setenv("SCRIPT_NAME", "link.cgi", 1), 0);
    check(cases, ARRAY_SIZE(cases), true);
}

static void
test_another_script_name_is_not_us(void **state UNUSED)
{
    static const struct argv_case cases[] = {
        {{"--threads", "4", "app.py"}, "a=1", 3},
        {{"app.py"}, NULL, 1},
    };
    static const char *const names[] = {"/cgi-bin/app.py", "/", "", "/gone"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        assert_int_equal(setenv("SCRIPT_NAME", names[i], 1), 0);
        assert_int_equal(setenv("SCRIPT_FILENAME", names[i], 1), 0);
        check(cases, ARRAY_SIZE(cases), false);
    }
}

/* The same without any help of the server: only the query is known. */
static void
test_query_words_are_recognised(void **state UNUSED)
{
    static const struct argv_case cases[] = {
        {{"-h"}, "-h", 0},
        {{"--help"}, "--help", 0},
        {{"-h"}, "%2dh", 0},
        {{"-h"}, "%2D%68", 0},
        {{"-c", "print(1)"}, "-c+print(1)", 0},
        {{"app.py"}, "app.py", 0},
        {{"/etc/passwd"}, "/etc/passwd", 0},
        {{"/etc/passwd"}, "%2fetc%2Fpasswd", 0},
        {{"app.py", "x"}, "app.py+x", 0},
        {{"--debug", "one.py"}, "--debug+one.py", 0},
        {{"--", "app.py"}, "--+app.py", 0},
        /* Apache puts a backslash before what a shell acts on */
        {{"/tmp/\\(x\\)\\;\\\\"}, "/tmp/(x);%5c", 0},
        {{"a\\\nb"}, "a%0ab", 0},
        /* and leaves empty words out; others keep them */
        {{"app.py", "x"}, "++app.py++x+", 0},
        {{"", "app.py", "x", ""}, "+app.py+x+", 0},
        {{"app.py", ""}, "x", 2}, /* nothing of a query */
        /* %00 ends a C string */
        {{"app.py"}, "app.py%00.txt", 0},
        /* an escape that is none */
        {{"a%zz%4"}, "a%zz%4", 0},
        /* long lists are cut */
        {{"a", "b"}, "a+b+c+d+e", 0},
        /* a server that does not look for "=" */
        {{"--venv=/tmp", "app.py"}, "--venv=/tmp+app.py", 0},
        {{"-d", "a=1"}, "-d+a=1", 0},
    };
    check(cases, ARRAY_SIZE(cases), false);
}

/* A wrapper's [wsgi-cgi, options, APP], with or without "$@" behind. */
static void
test_a_wrappers_command_line(void **state UNUSED)
{
    static const struct argv_case cases[] = {
        {{"--threads", "4", "app.py"}, "a=1", 3},
        {{"--threads", "4", "app.py"}, "x+y", 3},
        {{"--threads", "4", "app.py", "x", "y"}, "x+y", 3},
        {{"--threads", "4", "app.py", "-h"}, "-h", 3},
        {{"app.py"}, "app.pyx", 1},
        {{"app.py"}, "app.p", 1},
        {{"app.py"}, "x+app.py", 1},
        {{"app.py"}, "-h", 1},
        {{"app.py", "-h"}, "-h", 1},
        {{"-t4", "app.py"}, "-h=1", 2}, /* the RFC: no words with "=" */
        /* Cannot be told from a client's words, so nothing is believed. */
        {{"app.py"}, "app.py", 0},
        {{"-t4", "app.py"}, "-h", 0},
    };
    check(cases, ARRAY_SIZE(cases), false);
}

/* Rule 3: words of a query that a server has decoded in an unknown way. */
static void
test_a_query_that_begins_with_a_dash(void **state UNUSED)
{
    static const struct argv_case cases[] = {
        {{"-X", "app.py"}, "-x+app.py", 0},
        {{"-X", "app.py"}, "%2dx", 0},
        {{"-X", "app.py"}, "%2Dx", 0},
        {{"-X", "app.py"}, "+-x", 0},
        {{"-X", "app.py"}, "++%20+-x", 0},
        {{"-X", "app.py"}, " %2dx", 0},
        {{"-X", "app.py"}, "%09%0a-x", 0},
        {{"-X", "app.py"}, "%00-x", 0},
        {{"-X"}, "-x", 0},
        {{"'-X'", "app.py"}, "'-x'", 0},
        {{"\"-X", "app.py"}, "%22-x", 0},
        {{"\\-X", "app.py"}, "%5C%2dx", 0},
        {{"'-X'", "app.py"}, "'x", 2},      /* APP */
        {{"--debug", "app.py"}, "-x", 0},   /* not what its line says */
        {{"--debug", "plain.py"}, "-x", 0}, /* it has no options */
        {{"--debug", "gone.py"}, "-x", 0},
        {{"--debug", "module.py"}, "-x", 0},
        {{"--debug", "empty.py"}, "-x", 0},
        {{"--debug", "/dev/zero"}, "-x", 0},
        {{"--debug", "."}, "-x", 0},
        {{"--debug", "one.py"}, "-x", 2},
        {{"--threads 4 --debug", "app.py"}, "-x", 2},
        {{"--threads 4", "app.py"}, "-x", 0},
        {{"-X", "app.py"}, "x-", 2},
        {{"-X", "app.py"}, "%2", 2},
        {{"-X", "app.py"}, "++", 2},
    };
    check(cases, ARRAY_SIZE(cases), false);
}

static void
test_very_many_words(void **state UNUSED)
{
    enum { MANY = 100000 };
    static char query[2 * MANY];
    char **argv = calloc(MANY + 3, sizeof(*argv));
    assert_non_null(argv);
    char letter[] = "a";
    char script[] = "plain.py";
    for (int i = 0; i < MANY; i++) {
        query[2 * i] = 'a';
        query[2 * i + 1] = i < MANY - 1 ? '+' : '\0';
        argv[2 + i] = letter;
    }
    argv[0] = argv[1] = script;
    assert_int_equal(setenv("QUERY_STRING", query, 1), 0);
    bool in_doubt;
    assert_int_equal(argv_trusted(MANY + 2, argv, &in_doubt), 2);
    assert_true(in_doubt);
    free(argv);
}

/* -- argv_is_shebang ------------------------------------------------------- */

static bool
is_shebang(const char *word, const char *script)
{
    bool is_cut;
    bool is = argv_is_shebang(word, script, &is_cut);
    assert_false(is && is_cut);
    return is;
}

static void
test_shebang_lines(void **state UNUSED)
{
    assert_true(is_shebang("--threads 4 --debug", "app.py"));
    assert_true(is_shebang("--debug", "one.py"));
    assert_true(is_shebang("'--set=A=b c' --debug", "quoted.py"));
    assert_false(is_shebang("'--set=A=b c'", "quoted.py"));
    assert_false(is_shebang("--threads 4", "app.py"));
    assert_false(is_shebang("--threads 4 --debug -x", "app.py"));
    assert_false(is_shebang("", "app.py"));
    assert_false(is_shebang("", "plain.py"));
    assert_false(is_shebang("--debug", "plain.py"));
    assert_false(is_shebang("x", "plain.py")); /* the second line */
    assert_false(is_shebang("x = 1", "module.py"));
    assert_false(is_shebang("--debug", "gone.py"));
    assert_false(is_shebang("--debug", "/dev/null"));
    assert_false(is_shebang("--debug", "/"));
}

/* Kernels cut the line at 127 or at 255 bytes; the word is then shorter than
 * what the file says. */
static void
test_a_shebang_line_that_the_kernel_cut(void **state UNUSED)
{
    char line[400] = "#!/usr/bin/wsgi-cgi ";
    size_t start = strlen(line);
    memset(line + start, 'y', 300 - start);
    memcpy(line + start, "--venv=/", 8);
    line[300] = '\0';
    write_script("long.py", line);
    static const struct {
        size_t length; /* of the line that reached the kernel */
        bool is_shebang;
    } cases[] = {
        {126, false}, {127, true}, {255, true}, {299, true}, {300, true}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char word[400];
        size_t n = cases[i].length - start;
        memcpy(word, line + start, n);
        word[n] = '\0';
        bool is_cut;
        if (argv_is_shebang(word, "long.py", &is_cut) != cases[i].is_shebang ||
            is_cut != (cases[i].length < 300)) {
            fail_msg("line of %zu bytes", cases[i].length);
        }
    }
    assert_false(is_shebang("--venv=/z", "long.py"));
}

/* -- through options_parse() ----------------------------------------------- */

static struct config config;
static char message[4096];

static int
parse(bool request_in_env, int argc, const char *const *words)
{
    char *argv[WORDS_MAX + 1] = {NULL};
    for (int i = 0; i < argc; i++) {
        argv[i] = strdup(words[i]);
        assert_non_null(argv[i]);
    }
    struct capture capture;
    capture_start(&capture);
    int r = options_parse(argc, argv, request_in_env, &config);
    capture_end(&capture, message, sizeof(message));
    for (int i = 0; i < argc; i++) {
        free(argv[i]);
    }
    return r;
}

#define PARSE(IN_ENV, ...)                                                   \
    parse((IN_ENV),                                                          \
          (int)ARRAY_SIZE(((const char *const[]){"wsgi-cgi", __VA_ARGS__})), \
          (const char *const[]){"wsgi-cgi", __VA_ARGS__})

static void
test_a_shebang_lines_options_are_split(void **state UNUSED)
{
    for (int in_env = 0; in_env <= 1; in_env++) {
        assert_int_equal(
            PARSE(in_env != 0, "--threads 4 --debug", "app.py", "--mode=cgi"),
            0);
        assert_int_equal(config.threads, 4);
        assert_true(config.debug);
        assert_int_equal(config.mode, MODE_AUTO);
        assert_string_equal(config.app, "app.py");
        config_fini(&config);
    }
}

static void
test_a_shebang_line_that_starts_with_a_quote(void **state UNUSED)
{
    for (int in_env = 0; in_env <= 1; in_env++) {
        assert_int_equal(
            PARSE(in_env != 0, "'--set=A=b c' --debug", "quoted.py"), 0);
        assert_string_equal(config.set.v[0], "A=b c");
        assert_true(config.debug);
        assert_string_equal(config.app, "quoted.py");
        config_fini(&config);
    }
    /* Not such a line: APP, whatever it is. */
    assert_int_equal(PARSE(false, "'--debug'", "plain.py"), 0);
    assert_string_equal(config.app, "'--debug'");
    config_fini(&config);
    assert_int_equal(PARSE(false, "", "plain.py"), EX_USAGE);
}

static void
test_an_argument_with_blanks_is_not_split(void **state UNUSED)
{
    /* A shell's, not the kernel's: the script has no such line. */
    assert_int_equal(PARSE(false, "--set=TITLE=my --debug", "plain.py"), 0);
    assert_string_equal(config.set.v[0], "TITLE=my --debug");
    assert_false(config.debug);
    assert_string_equal(config.app, "plain.py");
    config_fini(&config);
    assert_int_equal(PARSE(false, "--set=TITLE=my shop", "shop:app"), 0);
    assert_string_equal(config.set.v[0], "TITLE=my shop");
    config_fini(&config);
}

static void
test_a_shebang_line_that_is_wrong(void **state UNUSED)
{
    static const struct {
        const char *line, *word, *sentence;
    } cases[] = {
        {"#!/w --threads\n", "--threads",
         "in the #! line: --threads: missing value"},
        {"#!/w --threads 4 app.py\n", "--threads 4 app.py",
         "in the #! line: unexpected \"app.py\": expected only options"},
        {"#!/w --set='A\n", "--set='A",
         "in the #! line: missing closing quote"},
        {"#!/w --thread 4\n", "--thread 4",
         "in the #! line: unknown option \"--thread\""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        write_script("long.py", cases[i].line);
        assert_int_equal(PARSE(false, cases[i].word, "long.py"), EX_USAGE);
        if (strstr(message, cases[i].sentence) == NULL) {
            fail_msg("not \"%s\": %s", cases[i].sentence, message);
        }
    }
}

static void
test_a_shebang_line_that_lost_its_end(void **state UNUSED)
{
    char line[400] = "#!/w --threads 4 --set A=";
    memset(line + strlen(line), 'y', 300 - strlen(line));
    write_script("long.py", line);
    line[255] = '\0';
    assert_int_equal(PARSE(false, line + 5, "long.py"), EX_USAGE);
    assert_non_null(strstr(message, "in the #! line: it is longer than "
                                    "the kernel reads, and was cut after "
                                    "\"yyyyyyyyyyyyyyyyyyyy\""));
}

static const char *const queries[] = {"-h",   "--help",   "%2d%68",     "-V",
                                      "-h+x", "plain.py", "/etc/passwd"};
static const char *const words[] = {"-h", "--help",   "-h",         "-V",
                                    "-h", "plain.py", "/etc/passwd"};

static void
test_a_request_cannot_give_options_or_app(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
        assert_int_equal(setenv("QUERY_STRING", queries[i], 1), 0);
        assert_int_equal(setenv("SCRIPT_FILENAME", self, 1), 0);
        assert_int_equal(PARSE(true, words[i]), 0);
        assert_int_equal(config.action, ACTION_RUN);
        assert_null(config.app);
        assert_string_equal(message, "");
        config_fini(&config);
        assert_int_equal(unsetenv("SCRIPT_FILENAME"), 0);
        assert_int_equal(PARSE(true, "plain.py", words[i]), 0);
        assert_int_equal(config.action, ACTION_RUN);
        assert_string_equal(config.app, "plain.py");
        config_fini(&config);
        /* The server does not say what it has started: no guess. */
        assert_int_equal(PARSE(true, words[i]), EX_USAGE);
        assert_non_null(
            strstr(message, "look like the end of the command line"));
    }
    /* Outside of a request argv is the administrator's. */
    assert_int_equal(PARSE(false, "-h"), 0);
    assert_int_equal(config.action, ACTION_HELP);
    config_fini(&config);
}

static void
test_a_request_cannot_take_options_away(void **state UNUSED)
{
    static const char *const trailing[] = {"--limit-body=1k", "--set=A=1",
                                           "-x=1"};
    for (size_t i = 0; i < ARRAY_SIZE(trailing); i++) {
        assert_int_equal(setenv("QUERY_STRING", trailing[i], 1), 0);
        assert_int_equal(PARSE(true, "--scripts-in=/srv", trailing[i]),
                         EX_USAGE);
        assert_int_equal(setenv("WSGI_CGI_OPTIONS", "--scripts-in=/srv", 1), 0);
        assert_int_equal(PARSE(true, trailing[i]), EX_USAGE);
        assert_int_equal(unsetenv("WSGI_CGI_OPTIONS"), 0);
    }
    assert_int_equal(setenv("QUERY_STRING", "1k", 1), 0);
    assert_int_equal(PARSE(true, "--scripts-in=/srv", "--limit-body", "1k"),
                     EX_USAGE);
    /* Rule 3 too. */
    assert_int_equal(setenv("QUERY_STRING", "-x", 1), 0);
    assert_int_equal(setenv("WSGI_CGI_OPTIONS", "--scripts-in=/srv", 1), 0);
    assert_int_equal(PARSE(true, "--limit-body=1k"), EX_USAGE);
    assert_int_equal(unsetenv("WSGI_CGI_OPTIONS"), 0);
    /* Any other query leaves them alone. */
    assert_int_equal(setenv("QUERY_STRING", "a=--limit-body", 1), 0);
    assert_int_equal(PARSE(true, "--scripts-in=/srv", "--limit-body=1k"), 0);
    assert_int_equal(config.limit_body, 1024);
    config_fini(&config);
}

static void
test_the_environments_options_hold_in_a_request(void **state UNUSED)
{
    assert_int_equal(setenv("WSGI_CGI_OPTIONS", "--scripts-in /srv", 1), 0);
    assert_int_equal(setenv("QUERY_STRING", "--scripts-in+/", 1), 0);
    assert_int_equal(setenv("SCRIPT_FILENAME", self, 1), 0);
    assert_int_equal(PARSE(true, "--scripts-in", "/"), 0);
    assert_string_equal(config.scripts_in, "/srv");
    assert_int_equal(unsetenv("WSGI_CGI_OPTIONS"), 0);
    config_fini(&config);
}

#define TEST(NAME) cmocka_unit_test_setup(NAME, clear_environment)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_script_with_a_shebang_line),
        TEST(test_the_program_itself_in_cgi_bin),
        TEST(test_another_script_name_is_not_us),
        TEST(test_query_words_are_recognised),
        TEST(test_a_wrappers_command_line),
        TEST(test_a_query_that_begins_with_a_dash),
        TEST(test_very_many_words),
        TEST(test_shebang_lines),
        TEST(test_a_shebang_line_that_the_kernel_cut),
        TEST(test_a_shebang_lines_options_are_split),
        TEST(test_a_shebang_line_that_starts_with_a_quote),
        TEST(test_an_argument_with_blanks_is_not_split),
        TEST(test_a_shebang_line_that_is_wrong),
        TEST(test_a_shebang_line_that_lost_its_end),
        TEST(test_a_request_cannot_give_options_or_app),
        TEST(test_a_request_cannot_take_options_away),
        TEST(test_the_environments_options_hold_in_a_request),
    };
    return cmocka_run_group_tests_name("argv", tests, set_up, tear_down);
}
