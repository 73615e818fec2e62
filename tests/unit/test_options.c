/*
 * test_options.c - conf/options and conf/value: every option, every limit, the
 *                  sentence for a wrong value, and where the words come from
 *
 * What the query string may put into argv is in test_argv.c.
 */
#include "unit.h"

#include "conf/options.h"

#include <stdbool.h>
#include <sysexits.h>

enum { WORDS_MAX = 24 };

static struct config config;
static char message[4096];

/* Parses "wsgi-cgi" and the words (NULL ends them), outside CGI. */
static int
parse(const char *const *words)
{
    static char program[] = "wsgi-cgi";
    char *argv[WORDS_MAX + 2] = {program};
    int argc = 1;
    for (; words[argc - 1] != NULL; argc++) {
        assert_true(argc <= WORDS_MAX);
        argv[argc] = strdup(words[argc - 1]);
        assert_non_null(argv[argc]);
    }
    struct capture capture;
    config_fini(&config); /* of the parse before */
    capture_start(&capture);
    int r = options_parse(argc, argv, false, &config);
    capture_end(&capture, message, sizeof(message));
    /* The config must not point into argv: these are freed before it is
     * read. */
    for (int i = 1; i < argc; i++) {
        free(argv[i]);
    }
    return r;
}

#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

static void
expect_ok(int r)
{
    if (r != 0 || message[0] != '\0') {
        fail_msg("%d: %s", r, message);
    }
}

/* Exactly one line, which holds text. */
static void
expect_usage(int r, const char *text)
{
    assert_int_equal(r, EX_USAGE);
    if (strstr(message, text) == NULL) {
        fail_msg("\"%s\" is not in: %s", text, message);
    }
    assert_ptr_equal(strchr(message, '\n'), message + strlen(message) - 1);
}

static int
teardown(void **state UNUSED)
{
    config_fini(&config);
    return unsetenv("WSGI_CGI_OPTIONS");
}

static void
test_defaults(void **state UNUSED)
{
    expect_ok(parse((const char *const[]){NULL}));
    assert_int_equal(config.action, ACTION_RUN);
    assert_int_equal(config.mode, MODE_AUTO);
    assert_null(config.app);
    assert_null(config.callable);
    assert_null(config.venv);
    assert_null(config.chdir);
    assert_null(config.mount);
    assert_null(config.scripts_in);
    assert_null(config.socket_owner);
    assert_null(config.user);
    assert_null(config.group);
    assert_null(config.pid_file);
    assert_int_equal(config.umask, -1); /* as found */
    assert_int_equal(config.python_path.n, 0);
    assert_int_equal(config.set.n, 0);
    assert_int_equal(config.env.n, 0);
    assert_int_equal(config.bind.n, 0);
    assert_int_equal(config.allow.n, 0);
    assert_int_equal(config.threads, 1);
    assert_int_equal(config.limit_head, 1 << 20);
    assert_int_equal(config.limit_vars, 1000);
    assert_int_equal(config.limit_body, 0);
    assert_int_equal(config.head_timeout_ms, 10000);
    assert_int_equal(config.body_timeout_ms, 60000);
    assert_int_equal(config.write_timeout_ms, 60000);
    assert_int_equal(config.keepalive_timeout_ms, 75000);
    assert_int_equal(config.graceful_timeout_ms, 30000);
    assert_int_equal(config.backlog, 1024);
    assert_int_equal(config.socket_mode, 0660);
    assert_int_equal(config.errors_to, ERRORS_TO_AUTO);
    assert_false(config.debug);
}

static void
test_every_option_reaches_its_field(void **state UNUSED)
{
    expect_ok(PARSE("--callable", "wsgi", "--venv=/v", "--chdir", "/c",
                    "--mount=/m", "--scripts-in", "/s", "--socket-owner",
                    "www:data", "app.py"));
    assert_string_equal(config.callable, "wsgi");
    assert_string_equal(config.venv, "/v");
    assert_string_equal(config.chdir, "/c");
    assert_string_equal(config.mount, "/m");
    assert_string_equal(config.scripts_in, "/s");
    assert_string_equal(config.socket_owner, "www:data");
    assert_string_equal(config.app, "app.py");

    expect_ok(PARSE("--user=www", "--group", "33", "--umask=027",
                    "--pid-file=run/pid"));
    assert_string_equal(config.user, "www");
    assert_string_equal(config.group, "33");
    assert_int_equal(config.umask, 027);
    assert_string_equal(config.pid_file, "run/pid");

    expect_ok(PARSE("--limit-head=2k", "--limit-body=3g", "--head-timeout=1",
                    "--body-timeout=2s", "--write-timeout=3ms",
                    "--keepalive-timeout=4m", "--graceful-timeout=0",
                    "--backlog=5", "--socket-mode=0600", "--threads=6",
                    "--debug"));
    assert_int_equal(config.limit_head, 2048);
    assert_int_equal(config.limit_body, UINT64_C(3) << 30);
    assert_int_equal(config.head_timeout_ms, 1000);
    assert_int_equal(config.body_timeout_ms, 2000);
    assert_int_equal(config.write_timeout_ms, 3);
    assert_int_equal(config.keepalive_timeout_ms, 240000);
    assert_int_equal(config.graceful_timeout_ms, 0);
    assert_int_equal(config.backlog, 5);
    assert_int_equal(config.socket_mode, 0600);
    assert_int_equal(config.threads, 6);
    assert_true(config.debug);
    assert_null(config.app);
}

static void
test_processes(void **state UNUSED)
{
    static const struct {
        const char *value;
        unsigned min, max;
    } rows[] = {{"1", 1, 1},           {"256", 256, 256},     {"0-1", 0, 1},
                {"1-8", 1, 8},         {"256-256", 256, 256}, {"0-256", 0, 256},
                {"256-auto", 256, 256}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        expect_ok(PARSE("--processes", rows[i].value, "app.py"));
        assert_int_equal(config.processes_min, rows[i].min);
        assert_int_equal(config.processes, rows[i].max);
        assert_int_equal(config_is_elastic(&config), rows[i].min < rows[i].max);
    }
    expect_ok(PARSE("--processes", "auto", "app.py"));
    assert_true(config.processes >= 1);
    assert_int_equal(config.processes_min, config.processes);
    expect_ok(PARSE("--processes", "0-auto", "app.py"));
    assert_int_equal(config.processes_min, 0);
    assert_true(config.processes >= 1);
    expect_ok(PARSE("app.py"));
    assert_false(config_is_elastic(&config));
    expect_usage(PARSE("--processes", "4-2", "app.py"),
                 "--processes: invalid value \"4-2\": expected a number from 1 "
                 "to 256, or auto, or MIN-MAX such as 1-8, where MIN is from 0 "
                 "to MAX");
}

static void
test_threads(void **state UNUSED)
{
    expect_ok(PARSE("--threads", "1024", "app.py"));
    assert_int_equal(config.threads, 1024);
    assert_false(config.threads_auto);
    expect_ok(PARSE("-tauto", "app.py"));
    assert_in_range(config.threads, 1, 1024);
    assert_true(config.threads_auto);
    /* The last one counts. */
    expect_ok(PARSE("-tauto", "-t3", "app.py"));
    assert_int_equal(config.threads, 3);
    assert_false(config.threads_auto);
    expect_usage(
        PARSE("--threads", "1-auto", "app.py"),
        "--threads: invalid value \"1-auto\": expected a number from 1 "
        "to 1024, or auto");
}

static void
test_words_with_a_set_of_values(void **state UNUSED)
{
    expect_ok(PARSE("--mode=cgi", "--errors-to=server"));
    assert_int_equal(config.mode, MODE_CGI);
    assert_int_equal(config.errors_to, ERRORS_TO_SERVER);
    expect_ok(PARSE("--mode", "fastcgi", "--errors-to", "stderr"));
    assert_int_equal(config.mode, MODE_FASTCGI);
    assert_int_equal(config.errors_to, ERRORS_TO_STDERR);
    expect_ok(PARSE("--errors-to=stderr", "--errors-to=auto"));
    assert_int_equal(config.errors_to, ERRORS_TO_AUTO);
}

static void
test_actions(void **state UNUSED)
{
    static const struct {
        const char *word;
        enum config_action action;
    } cases[] = {
        {"--check", ACTION_CHECK},     {"--explain", ACTION_EXPLAIN},
        {"--version", ACTION_VERSION}, {"-V", ACTION_VERSION},
        {"--help", ACTION_HELP},       {"-h", ACTION_HELP},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        expect_ok(PARSE(cases[i].word));
        assert_int_equal(config.action, cases[i].action);
    }
    /* --help ignores all errors after it. */
    expect_ok(PARSE("-h", "--nonsense"));
    assert_int_equal(config.action, ACTION_HELP);
    expect_usage(PARSE("--check", "--nonsense"), "\"--nonsense\"");
}

static void
test_lists_keep_their_order(void **state UNUSED)
{
    expect_ok(PARSE("-b", "unix:/a", "--bind=:9000", "-b/c", "--python-path",
                    "/p", "--python-path=/q", "--set=A=1", "--set", "B=x=y",
                    "--set=C=", "--allow=10.0.0.0/8,::1", "--allow", "any",
                    "--env=A=1", "--env", "LISTEN_FDSX=x=y"));
    assert_int_equal(config.bind.n, 3);
    assert_string_equal(config.bind.v[0], "unix:/a");
    assert_string_equal(config.bind.v[1], ":9000");
    assert_string_equal(config.bind.v[2], "/c");
    assert_int_equal(config.python_path.n, 2);
    assert_string_equal(config.python_path.v[0], "/p");
    assert_string_equal(config.python_path.v[1], "/q");
    assert_int_equal(config.set.n, 3);
    assert_string_equal(config.set.v[0], "A=1");
    assert_string_equal(config.set.v[1], "B=x=y");
    assert_string_equal(config.set.v[2], "C=");
    assert_int_equal(config.env.n, 2);
    assert_string_equal(config.env.v[0], "A=1");
    assert_string_equal(config.env.v[1], "LISTEN_FDSX=x=y");
    assert_int_equal(config.allow.n, 3);
    assert_string_equal(config.allow.v[0], "10.0.0.0/8");
    assert_string_equal(config.allow.v[1], "::1");
    assert_string_equal(config.allow.v[2], "any");
}

static void
test_short_options(void **state UNUSED)
{
    expect_ok(PARSE("-t4", "-b", ":1"));
    assert_int_equal(config.threads, 4);
    expect_usage(PARSE("-hV"), "unknown option \"-hV\"");
    expect_usage(PARSE("-x"), "unknown option \"-x\"");
    expect_usage(PARSE("-"), "unknown option \"-\"");
}

static void
test_the_last_one_wins(void **state UNUSED)
{
    expect_ok(PARSE("--venv=/a", "-t2", "--venv=/b", "-t3"));
    assert_string_equal(config.venv, "/b");
    assert_int_equal(config.threads, 3);
}

static void
test_nothing_after_app_is_parsed(void **state UNUSED)
{
    expect_ok(PARSE("-t2", "app.py", "--debug", "--nonsense", "-h", "--"));
    assert_string_equal(config.app, "app.py");
    assert_int_equal(config.threads, 2);
    assert_false(config.debug);
    assert_int_equal(config.action, ACTION_RUN);
    expect_ok(PARSE("--debug", "--", "--odd-name.py", "-h"));
    assert_string_equal(config.app, "--odd-name.py");
    assert_true(config.debug);
    expect_ok(PARSE("--"));
    assert_null(config.app);
    expect_ok(PARSE("--venv", "--", "app.py")); /* a value, not the end */
    assert_string_equal(config.venv, "--");
    assert_string_equal(config.app, "app.py");
}

static void
test_mount_is_normalised(void **state UNUSED)
{
    static const struct {
        const char *value, *mount;
    } cases[] = {
        {"", ""},           {"/", ""},         {"//", ""},
        {"/app", "/app"},   {"/app/", "/app"}, {"/a/b//", "/a/b"},
        {"/a//b", "/a//b"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        expect_ok(PARSE("--mount", cases[i].value));
        assert_string_equal(config.mount, cases[i].mount);
    }
    expect_ok(PARSE("--mount="));
    assert_string_equal(config.mount, "");
}

static void
test_limits_of_values(void **state UNUSED)
{
    static const char *const good[] = {
        "--threads=1",
        "--threads=2",
        "--threads=1023",
        "--threads=1024",
        "--backlog=1",
        "--backlog=65534",
        "--backlog=65535",
        "--limit-head=1024",
        "--limit-head=1k",
        "--limit-head=1025",
        "--limit-head=1g",
        "--limit-head=1K",
        "--limit-head=1M",
        "--limit-head=1G",
        "--limit-head=1073741823",
        "--limit-vars=16",
        "--limit-vars=1000000",
        "--limit-body=0",
        "--limit-body=1",
        "--limit-body=9223372036854775806",
        "--limit-body=9223372036854775807",
        "--limit-body=8589934591G",
        "--max-memory=0",
        "--max-memory=8589934591G",
        "--head-timeout=1ms",
        "--head-timeout=2ms",
        "--head-timeout=1440m",
        "--head-timeout=86399999ms",
        "--body-timeout=1ms",
        "--body-timeout=86400s",
        "--write-timeout=1ms",
        "--write-timeout=86400s",
        "--keepalive-timeout=0",
        "--keepalive-timeout=1440m",
        "--graceful-timeout=0",
        "--graceful-timeout=1440m",
        "--socket-mode=0",
        "--socket-mode=777",
        "--socket-mode=0777",
        "--umask=0",
        "--umask=0777",
        "--socket-owner=www-data",
        "--socket-owner=33:33",
        "--socket-owner=:www-data",
    };
    static const char *const bad[] = {
        "--threads=0",
        "--threads=1025",
        "--threads=",
        "--threads=-1",
        "--threads=4k",
        "--threads=18446744073709551617",
        "--backlog=0",
        "--backlog=65536",
        "--limit-head=1023",
        "--limit-head=1073741825",
        "--limit-head=2G",
        "--limit-head=1MB",
        "--limit-vars=15",
        "--limit-vars=1000001",
        "--limit-body=9223372036854775808",
        "--limit-body=8589934592G",
        "--max-memory=8589934592G",
        "--limit-body=-1",
        "--head-timeout=0",
        "--head-timeout=0ms",
        "--head-timeout=86400001ms",
        "--head-timeout=1441m",
        "--body-timeout=0",
        "--body-timeout=86400001ms",
        "--write-timeout=0",
        "--write-timeout=86400001ms",
        "--keepalive-timeout=86400001ms",
        "--keepalive-timeout=1h",
        "--graceful-timeout=86400001ms",
        "--graceful-timeout=",
        "--socket-mode=",
        "--socket-mode=1000",
        "--socket-mode=00777",
        "--socket-mode=8",
        "--socket-mode=0x1",
        "--socket-mode=rw",
        "--umask=",
        "--umask=1000",
        "--umask=8",
        "--umask=u=rwx",
        "--user=",
        "--group=",
        "--pid-file=",
        "--socket-owner=",
        "--socket-owner=:",
        "--socket-owner=www:",
        "--mode=auto",
        "--mode=",
        "--mode=CGI",
        "--errors-to=file",
        "--errors-to=",
        "--mount=app",
        "--mount=http://host/app",
        "--mount=/a?b",
        "--mount=/a#b",
        "--set=A",
        "--set==1",
        "--set=",
        "--env=A",
        "--env==1",
        "--env=",
        "--env=LISTEN_FDS=1",
        "--env=WSGI_CGI_WARM=1",
        "--allow=",
        "--allow=,",
        "--allow=::1,",
        "--allow=,::1",
        "--bind=",
        "--callable=",
        "--venv=",
        "--chdir=",
        "--scripts-in=",
        "--python-path=",
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        expect_ok(PARSE(good[i]));
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        /* "error: --threads: invalid value "0": expected ..." */
        const char *value = strchr(bad[i], '=') + 1;
        char sentence[200];
        (void)snprintf(sentence, sizeof(sentence),
                       ": error: %.*s: invalid value \"%s\": expected ",
                       (int)(value - 1 - bad[i]), bad[i], value);
        expect_usage(PARSE(bad[i]), sentence);
    }
}

static void
test_sentences(void **state UNUSED)
{
    expect_usage(
        PARSE("--threads", "many"),
        ": error: --threads: invalid value \"many\": expected a number from "
        "1 to 1024, or auto\n");
    expect_usage(PARSE("--threads"),
                 ": error: --threads: missing value: expected a number from "
                 "1 to 1024, or auto\n");
    expect_usage(PARSE("-b"), "--bind: missing value: expected unix:PATH");
    expect_usage(PARSE("--debug=1"),
                 "--debug: unexpected value \"1\": it takes none\n");
    expect_usage(PARSE("--nonsense=1"),
                 "unknown option \"--nonsense\"; see wsgi-cgi --help\n");
    /* No abbreviations: they would break with the next option. */
    expect_usage(PARSE("--thread=4"), "unknown option \"--thread\"");
    expect_usage(PARSE("--threadsx=4"), "unknown option \"--threadsx\"");
    expect_usage(PARSE("--=4"), "unknown option \"--\"");
    expect_usage(
        PARSE("--mode", "a\nb\x1b[2J"),
        "invalid value \"a\\x0ab\\x1b[2J\": expected cgi or fastcgi\n");
}

/* What only asks a running server is not silently ignored by one that serves,
 * nor by another question. */
static void
test_options_of_client_commands(void **state UNUSED)
{
    static const char *const serving[] = {NULL, "--check", "--explain"};
    static const char *const options[] = {"--timeout=30", "--json", "-HA: b",
                                          "--data-file=f"};
    static const char *const sentences[] = {
        "--timeout: it is only for --ping, --status, --request, --warm-list "
        "and --warm-stop; to limit the time of a request use "
        "--request-timeout\n",
        "--json: it is only for --status and --warm-list; for a log in JSON "
        "use --log-format json\n",
        "--header: it is only for --ping, --status and --request; to set a "
        "variable in the environ of every request use --set, for a virtual "
        "environment (-H of uWSGI) --venv\n",
        "--data-file: it is only for --request; to limit what clients send use "
        "--limit-body\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(serving); k++) {
            expect_usage(PARSE("-b:1", options[i],
                               serving[k] != NULL ? serving[k] : "app.py",
                               "app.py"),
                         sentences[i]);
        }
        assert_int_equal(setenv("WSGI_CGI_OPTIONS", "--timeout 1s", 1), 0);
        expect_usage(PARSE("-b:1", "app.py"),
                     "in WSGI_CGI_OPTIONS: --timeout: it is only for");
        expect_ok(PARSE("--ping", ":1"));
        assert_int_equal(unsetenv("WSGI_CGI_OPTIONS"), 0);
    }
    expect_ok(PARSE("--timeout=1", "--status=:1", "--json", "--timeout=2"));
    expect_ok(PARSE("--ping=:1", "--timeout=1"));
    expect_ok(PARSE("--timeout=1", "--request=:1", "GET", "/", "-HA: b",
                    "--data-file=-"));
    expect_ok(PARSE("--warm-list", "--json", "--timeout=1"));
    expect_ok(PARSE("--timeout=1", "--warm-stop=app.py"));
    expect_usage(PARSE("--warm-stop=app.py", "--json"),
                 "error: --json: it is only for --status and --warm-list\n");
    expect_usage(PARSE("--warm-list", "app.py"),
                 "error: unexpected \"app.py\": expected only options\n");
    expect_ok(PARSE("--json", "--help"));
    expect_usage(PARSE("--ping=:1", "--json"),
                 "error: --json: it is only for --status and --warm-list\n");
    expect_usage(PARSE("--timeout=1", "--json", "--request=:1", "GET", "/"),
                 "error: --json: it is only for --status and --warm-list\n");
    expect_usage(PARSE("--status=:1", "--data-file=-"),
                 "error: --data-file: it is only for --request\n");
    expect_ok(PARSE("--ping=:1", "--ping-path=/p", "-HHost: a"));
    expect_ok(PARSE("--status=:1", "-HHost: a"));
}

static void
test_words_after_a_client_command(void **state UNUSED)
{
    expect_usage(PARSE("-b:1", "--status", "/status", "app.py"),
                 "unexpected \"app.py\": expected only options; --status asks "
                 "a running server: to serve a status page use --status-path "
                 "or --control\n");
    expect_usage(PARSE("-b:1", "--ping", "/ping", "app.py"),
                 "unexpected \"app.py\": expected only options; --ping asks a "
                 "running server: to answer health checks use --ping-path or "
                 "--control\n");
    expect_usage(PARSE("--request", ":1", "GET", "/", "app.py"),
                 "unexpected \"app.py\": expected only options\n");
}

static void
test_environment_comes_first(void **state UNUSED)
{
    assert_int_equal(setenv("WSGI_CGI_OPTIONS",
                            "  --threads 2\t--venv='/a b' --debug\n"
                            "--set=\"T=x y\" --chdir /a\\ b -b :1 ",
                            1),
                     0);
    expect_ok(PARSE("--threads=3", "-b:2", "app.py"));
    assert_int_equal(config.threads, 3);
    assert_string_equal(config.venv, "/a b");
    assert_string_equal(config.set.v[0], "T=x y");
    assert_string_equal(config.chdir, "/a b");
    assert_true(config.debug);
    assert_int_equal(config.bind.n, 2);
    assert_string_equal(config.bind.v[0], ":1");
    assert_string_equal(config.app, "app.py");
}

static void
test_environment_holds_options_only(void **state UNUSED)
{
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        {"app.py", "in WSGI_CGI_OPTIONS: unexpected \"app.py\": expected only "
                   "options\n"},
        {"--debug -- app.py", "unexpected \"app.py\""},
        {"--threads", "in WSGI_CGI_OPTIONS: --threads: missing value"},
        {"--threads x", "in WSGI_CGI_OPTIONS: --threads: invalid value \"x\""},
        {"--nonsense", "in WSGI_CGI_OPTIONS: unknown option"},
        {"--venv='/a", "in WSGI_CGI_OPTIONS: missing closing quote"},
        {"--venv=\"/a", "missing closing quote"},
        {"--debug \\", "missing closing quote, or \"\\\" at the end"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(setenv("WSGI_CGI_OPTIONS", cases[i].text, 1), 0);
        expect_usage(PARSE("app.py"), cases[i].sentence);
    }
    assert_int_equal(setenv("WSGI_CGI_OPTIONS", "", 1), 0);
    expect_ok(PARSE("app.py"));
    assert_int_equal(setenv("WSGI_CGI_OPTIONS", "--debug --", 1), 0);
    expect_ok(PARSE("app.py"));
    assert_true(config.debug);
}

static void
test_quotes(void **state UNUSED)
{
    static const struct {
        const char *text, *value;
    } cases[] = {
        {"--set=A=b", "A=b"},
        {"--set=A='b c'", "A=b c"},
        {"'--set=A=b c'", "A=b c"},
        {"--set 'A=b'\"c\"d", "A=bcd"},
        {"--set=A=\"it's\"", "A=it's"},
        {"--set=A='\"'", "A=\""},
        {"--set=A=\"\\\"\"", "A=\""},
        {"--set=A=\"\\\\\"", "A=\\"},
        {"--set=A=\"\\n\"", "A=\\n"}, /* as in a shell */
        {"--set=A='\\'", "A=\\"},
        {"--set=A=\\'", "A='"},
        {"--set=A=\\\\", "A=\\"},
        {"--set=A=\\$x$y`z`", "A=$x$y`z`"}, /* nothing else of a shell */
        {"--set A=\"\"", "A="},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(setenv("WSGI_CGI_OPTIONS", cases[i].text, 1), 0);
        expect_ok(PARSE("app.py"));
        assert_int_equal(config.set.n, 1);
        assert_string_equal(config.set.v[0], cases[i].value);
    }
    /* An empty word in quotes is a word. */
    assert_int_equal(setenv("WSGI_CGI_OPTIONS", "--mount '' --debug", 1), 0);
    expect_ok(PARSE("app.py"));
    assert_string_equal(config.mount, "");
    assert_true(config.debug);
}

static void
test_a_failed_parse_leaves_an_empty_config(void **state UNUSED)
{
    expect_usage(PARSE("--venv=/a", "--set=A=1", "--set=B", "app.py"), "\"B\"");
    assert_null(config.venv);
    assert_int_equal(config.set.n, 0);
    assert_null(config.app);
}

static void
test_help_names_every_default(void **state UNUSED)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    assert_non_null(to);
    options_help(to);
    assert_int_equal(fclose(to), 0);
    static const char *const lines[] = {
        "usage: wsgi-cgi [OPTION ...] [APP]\n",
        "\n  -t, --threads N|auto        requests handled at the same time; "
        "auto: "
        "one for\n",
        "\n      --limit-head SIZE       size of all variables of a request, "
        "else 431 [1M]",
        "\n  -h, --help                  print this text, and exit\n",
        "\n      --keepalive-timeout TIME\n                              "
        "for the next request on a connection [75s]\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        if (strstr(text, lines[i]) == NULL) {
            fail_msg("not in --help: %s\n%s", lines[i], text);
        }
    }
    for (char *line = text; *line != '\0';) {
        size_t n = strcspn(line, "\n");
        if (n > 79) {
            fail_msg("%zu columns: %.*s", n, (int)n, line);
        }
        line += n + 1;
    }
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_defaults, teardown),
        cmocka_unit_test_teardown(test_every_option_reaches_its_field,
                                  teardown),
        cmocka_unit_test_teardown(test_processes, teardown),
        cmocka_unit_test_teardown(test_threads, teardown),
        cmocka_unit_test_teardown(test_words_with_a_set_of_values, teardown),
        cmocka_unit_test_teardown(test_actions, teardown),
        cmocka_unit_test_teardown(test_lists_keep_their_order, teardown),
        cmocka_unit_test_teardown(test_short_options, teardown),
        cmocka_unit_test_teardown(test_the_last_one_wins, teardown),
        cmocka_unit_test_teardown(test_nothing_after_app_is_parsed, teardown),
        cmocka_unit_test_teardown(test_mount_is_normalised, teardown),
        cmocka_unit_test_teardown(test_limits_of_values, teardown),
        cmocka_unit_test_teardown(test_sentences, teardown),
        cmocka_unit_test_teardown(test_options_of_client_commands, teardown),
        cmocka_unit_test_teardown(test_words_after_a_client_command, teardown),
        cmocka_unit_test_teardown(test_environment_comes_first, teardown),
        cmocka_unit_test_teardown(test_environment_holds_options_only,
                                  teardown),
        cmocka_unit_test_teardown(test_quotes, teardown),
        cmocka_unit_test_teardown(test_a_failed_parse_leaves_an_empty_config,
                                  teardown),
        cmocka_unit_test_teardown(test_help_names_every_default, teardown),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
