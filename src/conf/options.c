/*
 * options.c - the option table: command line, --help, WSGI_CGI_OPTIONS
 *
 * A new option is one row of the table, a field of struct config, and an entry
 * of man/wsgi-cgi.1; tests/gateway/test_docs.py compares the three.
 */
#include "conf/options.h"
#include "conf/argv.h"
#include "conf/command_line.h"
#include "conf/value.h"
#include "os/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

/* -- the table ------------------------------------------------------------- */

static const char *const modes[] = {
    [MODE_CGI] = "cgi", [MODE_FASTCGI] = "fastcgi"};
static const char *const reloads[] = {[RELOAD_SCRIPT] = "script",
                                      [RELOAD_MODULES] = "modules",
                                      [RELOAD_OFF] = "off"};
static const char *const errors_targets[] = {[ERRORS_TO_AUTO] = "auto",
                                             [ERRORS_TO_SERVER] = "server",
                                             [ERRORS_TO_STDERR] = "stderr"};
static const char *const log_formats[] = {
    [LOG_FORMAT_TEXT] = "text", [LOG_FORMAT_JSON] = "json"};

/* clang-format off */
#define HEADING(TEXT) {.help = (TEXT)}
#define FIELD(NAME) .field = offsetof(struct config, NAME)
#define CHOICES(WORDS) .choices = (WORDS), .max = ARRAY_SIZE(WORDS) - 1
#define DAY_MS (UINT64_C(24) * 60 * 60 * 1000)
#define ANY_TEXT "text that is not empty"
#define TIME_FROM_1MS "a time from 1ms to 1440m (digits, then ms, s or m)"
#define PATH_TEXT "the path of a URL: it starts with / and contains no ? or #"
#define SIZE_FROM_0                                                            \
    "a size from 0 (no limit) to 8589934591G (digits, then nothing, K, M or "  \
    "G)"
#define ONLY_FOR(ACTIONS, OPTIONS) .only_for = (ACTIONS), .only_with = (OPTIONS)
#define ASKING                                                              \
    ONLY_FOR(1u << ACTION_PING | 1u << ACTION_STATUS | 1u << ACTION_REQUEST, \
             "--ping, --status and --request")
#define WHOLE .field = 0 /* the setter fills several fields */
#define TIME_FROM_0 "a time from 0 to 1440m (digits, then ms, s or m)"

static const struct option_row table[] = {
    HEADING("Application"),
    {.name = "callable", .arg = "NAME", .set = value_string, FIELD(callable),
     .expected = ANY_TEXT,
     .help = "name of the callable in APP (without it:\n"
             "application, then app)"},
    {.name = "venv", .arg = "DIR", .set = value_string, FIELD(venv),
     .expected = "the directory of a virtual environment",
     .help = "use this virtual environment"},
    {.name = "user-site", .set = value_true, FIELD(user_site),
     .help = "add the packages of pip install --user"},
    {.name = "python-path", .arg = "DIR", .set = value_word, FIELD(python_path),
     .expected = "a directory",
     .help = "add a directory, and what its .pth files list,\n"
             "to the front of sys.path (repeatable)"},
    {.name = "chdir", .arg = "DIR", .set = value_string, FIELD(chdir),
     .expected = "a directory",
     .help = "change to this directory first"},
    {.name = "mount", .arg = "PATH", .set = value_mount, FIELD(mount),
     .expected = PATH_TEXT,
     .help = "URL path of the application: correct\n"
             "SCRIPT_NAME and PATH_INFO behind any server"},
    {.name = "set", .arg = "NAME=VALUE", .set = value_assignment, FIELD(set),
     .expected = "NAME=VALUE",
     .help = "set a variable in the WSGI environ of every\n"
             "request (repeatable); for os.environ see --env"},
    {.name = "env", .arg = "NAME=VALUE", .set = value_variable, FIELD(env),
     .expected = "NAME=VALUE, where NAME is no variable that wsgi-cgi itself "
                "reads at its start, such as LISTEN_FDS or " CONFIG_OPTIONS,
     .help = "set a variable of the process, and so in\n"
             "os.environ, before Python starts (repeatable)"},
    {.name = "scripts-in", .arg = "DIR", .set = value_string, FIELD(scripts_in),
     .expected = "a directory",
     .help = "without APP, serve the script that each\n"
             "request names, if it is below DIR"},

    {.name = "x-sendfile", .arg = "HEADER[:[URLPREFIX=]DIR]", WHOLE,
     .set = value_x_sendfile,
     .expected = "HEADER, HEADER:DIR or HEADER:URLPREFIX=DIR, where HEADER "
                "starts with X- and is the same each time, URLPREFIX with / "
                "(X-Accel-Redirect needs it), and DIR is a directory",
     .help = "let the web server send files below DIR that\n"
             "the application passes to wsgi.file_wrapper\n"
             "(repeatable)"},

    HEADING("Sockets"),
    {.letter = 'b', .name = "bind", .arg = "ADDR", .set = value_word,
     FIELD(bind),
     .expected = CONFIG_ADDRESS,
     .help = "listen for FastCGI on unix:PATH, /PATH, @NAME,\n"
             "HOST:PORT, [IPV6]:PORT or :PORT (loopback),\n"
             "where HOST is an IPv4 address or localhost;\n"
             "repeatable"},
    {.name = "mode", .arg = "cgi|fastcgi", .set = value_choice, FIELD(mode),
     CHOICES(modes),
     .expected = "cgi or fastcgi",
     .help = "use this mode instead of detecting it"},
    {.name = "relay", .arg = "ADDR", .set = value_string, FIELD(relay),
     .expected = CONFIG_ADDRESS,
     .help = "in CGI: pass the request on to the FastCGI\n"
             "application at ADDR, instead of loading APP"},
    {.name = "keep-warm", .set = value_true, FIELD(keep_warm),
     .help = "in CGI: leave an instance of APP behind, which\n"
             "serves the next requests; it ends when nothing\n"
             "has come for 5 minutes"},
    {.name = "backlog", .arg = "N", .default_value = "1024", .set = value_int,
     FIELD(backlog), .min = 1, .max = 65535,
     .expected = "a number from 1 to 65535",
     .help = "connections waiting to be accepted"},
    {.name = "socket-mode", .arg = "OCTAL", .default_value = "0660",
     .set = value_file_mode, FIELD(socket_mode), .max = 0777,
     .expected = "octal digits from 0 to 0777",
     .help = "permissions of new unix sockets"},
    {.name = "socket-owner", .arg = "[USER][:GROUP]", .set = value_owner,
     FIELD(socket_owner),
     .expected = "USER, USER:GROUP or :GROUP",
     .help = "owner of new unix sockets"},
    {.name = "allow", .arg = "ADDRS", .set = value_commas, FIELD(allow),
     .expected = CONFIG_PEERS,
     .help = "peers that may connect over TCP: addresses,\n"
             "networks or localhost, comma-separated, or any;\n"
             "repeatable"},

    HEADING("Threads, limits and timeouts (sizes: K, M, G; times: ms, s, m)"),
    {.letter = 't', .name = "threads", .arg = "N|auto", .default_value = "1",
     WHOLE, .set = value_threads, .min = 1, .max = 1024,
     .expected = "a number from 1 to 1024, or auto",
     .help = "requests handled at the same time; auto: one for\n"
             "each processor (free-threaded Python only)"},
    {.name = "limit-head", .arg = "SIZE", .default_value = "1M",
     .set = value_size,
     FIELD(limit_head), .min = 1024, .max = UINT64_C(1) << 30,
     .expected = "a size from 1K to 1G (digits, then nothing, K, M or G)",
     .help = "size of all variables of a request, else 431"},
    {.name = "limit-vars", .arg = "N", .default_value = "1000",
     .set = value_unsigned, FIELD(limit_vars), .min = 16, .max = 1000000,
     .expected = "a number from 16 to 1000000",
     .help = "number of variables of a request, else 431"},
    {.name = "limit-body", .arg = "SIZE", .default_value = "0",
     .set = value_size,
     FIELD(limit_body), .max = INT64_MAX,
     .expected = SIZE_FROM_0,
     .help = "size of a request body, else 413; 0: no limit"},
    {.name = "head-timeout", .arg = "TIME", .default_value = "10s",
     .set = value_time,
     FIELD(head_timeout_ms), .min = 1, .max = DAY_MS,
     .expected = TIME_FROM_1MS,
     .help = "for all variables of a request to arrive"},
    {.name = "body-timeout", .arg = "TIME", .default_value = "60s",
     .set = value_time,
     FIELD(body_timeout_ms), .min = 1, .max = DAY_MS,
     .expected = TIME_FROM_1MS,
     .help = "for the next byte of the body to arrive"},
    {.name = "write-timeout", .arg = "TIME", .default_value = "60s",
     .set = value_time,
     FIELD(write_timeout_ms), .min = 1, .max = DAY_MS,
     .expected = TIME_FROM_1MS,
     .help = "for the server to accept the next byte"},
    {.name = "keepalive-timeout", .arg = "TIME", .default_value = "75s",
     .set = value_time, FIELD(keepalive_timeout_ms), .max = DAY_MS,
     .expected = TIME_FROM_0,
     .help = "for the next request on a connection"},
    {.name = "graceful-timeout", .arg = "TIME", .default_value = "30s",
     .set = value_time, FIELD(graceful_timeout_ms), .max = DAY_MS,
     .expected = TIME_FROM_0,
     .help = "for running requests to end after SIGTERM"},
    {.name = "request-timeout", .arg = "TIME", .default_value = "0",
     .set = value_time, FIELD(request_timeout_ms), .max = DAY_MS,
     .expected = TIME_FROM_0,
     .help = "end a request that runs longer, with 504;\n"
             "0: never"},
    {.name = "slow", .arg = "TIME", .default_value = "0", .set = value_time,
     FIELD(slow_ms), .max = DAY_MS,
     .expected = TIME_FROM_0,
     .help = "log the stack of a request that runs longer,\n"
             "once; 0: never"},

    {.name = "queue-timeout", .arg = "TIME", .default_value = "0",
     .set = value_time, FIELD(queue_timeout_ms), .max = DAY_MS,
     .expected = TIME_FROM_0,
     .help = "answer 503 to a request that has waited longer\n"
             "for a thread; 0: never"},

    HEADING("Processes"),
    {.letter = 'p', .name = "processes", .arg = "N|MIN-MAX|auto", WHOLE,
     .set = value_processes, .min = 1, .max = 256,
     .expected = "a number from 1 to 256, or auto, or MIN-MAX such as 1-8, "
                "where MIN is from 0 to MAX",
     .help = "workers under a master process; MIN-MAX: as\n"
             "many as the requests need; auto: one for each\n"
             "processor; without this option, one process\n"
             "and no master"},
    {.name = "idle-timeout", .arg = "TIME", .default_value = "10s",
     .set = value_time, FIELD(idle_timeout_ms), .min = 1, .max = DAY_MS,
     .expected = TIME_FROM_1MS,
     .help = "with --processes MIN-MAX, end a worker that has\n"
             "had no request for so long"},
    {.name = "exit-idle", .arg = "TIME", .default_value = "0",
     .set = value_time, FIELD(exit_idle_ms), .max = DAY_MS,
     .expected = TIME_FROM_0,
     .help = "end, with code 0, when nothing has come for so\n"
             "long; 0: never"},
    {.name = "preload", .set = value_true, FIELD(preload),
     .help = "import APP once, then fork the workers: they\n"
             "share its memory"},
    {.name = "need-app", .set = value_true, FIELD(need_app),
     .help = "end with code 70 instead of serving error pages\n"
             "when APP does not load"},
    {.name = "max-requests", .arg = "N", .default_value = "0",
     .set = value_unsigned,
     FIELD(max_requests), .max = UINT32_MAX,
     .expected = "a number; 0 is no limit",
     .help = "replace a process after N requests; 0: never"},
    {.name = "max-requests-jitter", .arg = "N", .default_value = "0",
     .set = value_unsigned, FIELD(max_requests_jitter), .max = UINT32_MAX - 1,
     .expected = "a number",
     .help = "add a random number up to N to that limit"},
    {.name = "max-memory", .arg = "SIZE", .default_value = "0",
     .set = value_size,
     FIELD(max_memory), .max = INT64_MAX,
     .expected = SIZE_FROM_0,
     .help = "replace a process that exceeds this size after\n"
             "a request; 0: never"},
    {.name = "reload", .arg = "script|modules|off",
     .default_value = "script",
     .set = value_choice, FIELD(reload), CHOICES(reloads),
     .expected = "script, modules or off",
     .help = "load new code when APP, or tmp/restart.txt in\n"
             "its directory, changes; modules: or any\n"
             "imported file"},
    {.name = "touch-reload", .arg = "FILE", .set = value_word,
     FIELD(touch_reload), .expected = "a file",
     .help = "load new code when this file changes, whatever\n"
             "--reload says (repeatable)"},
    {.name = "user", .arg = "NAME|UID", .set = value_string, FIELD(user),
     .expected = "the name or number of a user",
     .help = "switch to this user once the sockets are open"},
    {.name = "group", .arg = "NAME|GID", .set = value_string, FIELD(group),
     .expected = "the name or number of a group",
     .help = "switch to this group instead of the user's own"},
    {.name = "umask", .arg = "OCTAL", .set = value_umask, FIELD(umask),
     .max = 0777, .expected = "octal digits from 0 to 0777",
     .help = "file mode creation mask"},
    {.name = "pid-file", .arg = "FILE", .set = value_string, FIELD(pid_file),
     .expected = "a file",
     .help = "write the process ID to this file"},

    HEADING("Status and health checks"),
    {.name = "status-path", .arg = "PATH", .set = value_path,
     FIELD(status_path), .expected = PATH_TEXT,
     .help = "answer this path with the status page"},
    {.name = "ping-path", .arg = "PATH", .set = value_path, FIELD(ping_path),
     .expected = PATH_TEXT,
     .help = "answer this path with pong"},
    {.name = "control", .arg = "ADDR", .set = value_string, FIELD(control),
     .expected = CONFIG_ADDRESS,
     .help = "separate FastCGI socket for both, which also\n"
             "answers while all threads are busy"},

    HEADING("Client commands"),
    {.name = "ping", .arg = "ADDR", WHOLE, .set = value_client_action,
     .max = ACTION_PING, .expected = CONFIG_ADDRESS,
     .help = "check whether it answers (--ping-path: this\n"
             "path)"},
    {.name = "status", .arg = "ADDR", WHOLE, .set = value_client_action,
     .max = ACTION_STATUS, .expected = CONFIG_ADDRESS,
     .help = "print its status page; ADDR is that of\n"
             "--control, or add --status-path"},
    {.name = "request", .arg = "ADDR METHOD PATH", WHOLE,
     .set = value_client_action,
     .max = ACTION_REQUEST, .expected = CONFIG_ADDRESS,
     .help = "send one request and print the response"},
    {.name = "warm-list", .set = value_action, FIELD(action),
     .max = ACTION_WARM_LIST,
     .help = "print the instances that --keep-warm has\n"
             "started for this user"},
    {.name = "warm-stop", .arg = "SCRIPT|all", WHOLE,
     .set = value_client_action, .max = ACTION_WARM_STOP,
     .expected = "the path of a script, or all",
     .help = "end the instances of this script, or all"},
    {.name = "json", .set = value_true, FIELD(json),
     ONLY_FOR(1u << ACTION_STATUS | 1u << ACTION_WARM_LIST,
              "--status and --warm-list"),
     .instead = "for a log in JSON use --log-format json",
     .help = "print the status or the list as JSON"},
    {.letter = 'H', .name = "header", .arg = "LINE", .set = value_word,
     FIELD(headers), .expected = "NAME: VALUE",
     ASKING,
     .instead = "to set a variable in the environ of every request use --set, "
                "for a virtual environment (-H of uWSGI) --venv",
     .help = "add a header, NAME: VALUE (repeatable)"},
    {.name = "data-file", .arg = "FILE", .set = value_string, FIELD(data_file),
     .expected = "a file, or - for standard input",
     ONLY_FOR(1u << ACTION_REQUEST, "--request"),
     .instead = "to limit what clients send use --limit-body",
     .help = "body of the request (-: standard input)"},
    {.name = "timeout", .arg = "TIME", .default_value = "5s", .set = value_time,
     FIELD(client_timeout_ms), .min = 1, .max = DAY_MS,
     .expected = TIME_FROM_1MS,
     ONLY_FOR(1u << ACTION_PING | 1u << ACTION_STATUS | 1u << ACTION_REQUEST |
                  1u << ACTION_WARM_LIST | 1u << ACTION_WARM_STOP,
              "--ping, --status, --request, --warm-list and --warm-stop"),
     .instead = "to limit the time of a request use --request-timeout",
     .help = "for the answer; --request: for each wait"},

    HEADING("Logs"),
    {.name = "log-file", .arg = "FILE", .set = value_string, FIELD(log_file),
     .expected = "a file, or - for standard error",
     .help = "log to this file, reopened on SIGUSR1 and\n"
             "SIGHUP "
             "(-: standard error)"},
    {.name = "log-format", .arg = "text|json", .default_value = "text",
     .set = value_choice, FIELD(log_format),
     CHOICES(log_formats), .expected = "text or json",
     .help = "lines of text, or one JSON object per line"},
    {.name = "log-level", .arg = "LEVEL", .default_value = "info",
     .set = value_log_level, FIELD(log_level),
     .expected = "error, warning, notice, info or debug",
     .help = "log messages of wsgi-cgi up to this level"},
    {.name = "access-log", .arg = "FILE", .set = value_string,
     FIELD(access_log), .expected = "a file, or - for the log",
     .help = "one line per finished request (-: the log)"},
    {.name = "slow-log", .arg = "FILE", .set = value_string, FIELD(slow_log),
     .expected = "a file, or - for the log",
     .help = "the stacks of --slow (-: the log)"},

    HEADING("Errors and diagnosis"),
    {.name = "errors-to", .arg = "auto|server|stderr", .default_value = "auto",
     .set = value_choice, FIELD(errors_to), CHOICES(errors_targets),
     .expected = "auto, server or stderr",
     .help = "where wsgi.errors and tracebacks go"},
    {.name = "debug", .set = value_true, FIELD(debug),
     .help = "show tracebacks to the client"},
    {.name = "doctor", .set = value_true, FIELD(doctor),
     .help = "instead of APP, serve a page that shows what\n"
             "the web server sends and what to change"},
    {.name = "check", .set = value_action, FIELD(action), .max = ACTION_CHECK,
     .help = "load APP, print the result, and exit"},
    {.name = "explain", .set = value_action, FIELD(action),
     .max = ACTION_EXPLAIN,
     .help = "print the mode and the reason, and exit"},
    {.letter = 'V', .name = "version", .set = value_action, FIELD(action),
     .max = ACTION_VERSION,
     .help = "print the versions, and exit"},
    {.letter = 'h', .name = "help", .set = value_action, FIELD(action),
     .max = ACTION_HELP,
     .help = "print this text, and exit"},
};
/* clang-format on */

/* -- parsing --------------------------------------------------------------- */

static int
refuse_scripts_in(const char *option)
{
    log_error(
        "--%s: it needs APP: scripts of --scripts-in are loaded when they "
        "are requested",
        option);
    return EX_USAGE;
}

/* Checks options that need another one. */
static int
check_together(const struct config *c)
{
    bool runs = c->action == ACTION_RUN || c->action == ACTION_CHECK ||
                c->action == ACTION_EXPLAIN;
    if (runs && c->preload && c->processes == 0 && !c->keep_warm) {
        log_error("--preload: it needs --processes N: only workers of a master "
                  "can share the application");
        return EX_USAGE;
    }
    if (runs && c->preload && c->app == NULL && c->scripts_in != NULL) {
        return refuse_scripts_in("preload");
    }
    if (runs && c->need_app && c->app == NULL && c->scripts_in != NULL) {
        return refuse_scripts_in("need-app");
    }
    if (c->action == ACTION_CHECK && c->relay != NULL) {
        log_error("--check: there is no application to load with --relay; "
                  "wsgi-cgi --ping %s asks whether one answers",
                  c->relay);
        return EX_USAGE;
    }
    if (runs && c->keep_warm && c->relay != NULL) {
        log_error("--keep-warm: an instance serves APP, and --relay passes "
                  "requests on to another program: use one of them");
        return EX_USAGE;
    }
    if (runs && c->slow_log != NULL && c->slow_ms == 0) {
        log_error("--slow-log: it needs --slow TIME: no request is slow "
                  "without it");
        return EX_USAGE;
    }
    return 0;
}

int
options_parse(int argc, char **argv, bool request_in_env,
              struct config *ret_config)
{
    struct config *c = ret_config;
    *c = (struct config){.action = ACTION_RUN, .options_end = 1, .umask = -1};
    struct command_line line = {
        .rows = table, .nrows = ARRAY_SIZE(table), .config = c};
    const char *text = getenv(CONFIG_OPTIONS);
    int r = command_line_defaults(&line);
    if (r == 0 && text != NULL) {
        r = command_line_text(&line, text, "in " CONFIG_OPTIONS ": ");
    }
    bool in_doubt = false;
    if (r == 0 && request_in_env) {
        argc = argv_trusted(argc, argv, &in_doubt);
    }
    if (r == 0 && argc > 1) {
        r = command_line_argv(&line, argc, argv);
    }
    if (request_in_env) {
        value_drop(&c->ignored);
    }
    if (r == 0 && in_doubt && c->app == NULL) {
        log_error("the words of this query string look like the end of the "
                  "command line: put the options into " CONFIG_OPTIONS
                  ", or APP after them");
        r = EX_USAGE;
    }
    if (r == 0 && c->action == ACTION_REQUEST && c->path == NULL) {
        log_error("--request: missing METHOD and PATH after the address");
        r = EX_USAGE;
    }
    r = r == 0 ? command_line_check(&line) : r;
    r = r == 0 ? check_together(c) : r;
    if (r != 0) {
        config_fini(c);
    }
    return r;
}

void
options_suggest(const char *word, char to[SUGGEST_SIZE])
{
    size_t n = strcspn(word, "=");
    to[0] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        const char *name = table[i].name;
        if (name != NULL && n == strlen(name) + 2 &&
            strncmp(word + 2, name, n - 2) == 0) {
            return;
        }
    }
    suggest_option(table, ARRAY_SIZE(table), word, to);
}

/* -- --help ---------------------------------------------------------------- */

enum { HELP_COLUMN = 30 };

static void
print_row(FILE *to, const struct option_row *row)
{
    int width =
        fprintf(to, "  %c%c%s --%s%s%s", row->letter != '\0' ? '-' : ' ',
                row->letter != '\0' ? row->letter : ' ',
                row->letter != '\0' ? "," : " ", row->name,
                row->arg != NULL ? " " : "", row->arg != NULL ? row->arg : "");
    if (width > HELP_COLUMN - 2) {
        (void)fputc('\n', to);
        width = 0;
    }
    for (const char *s = row->help; *s != '\0';) {
        size_t n = strcspn(s, "\n");
        (void)fprintf(to, "%*s%.*s", HELP_COLUMN - width, "", (int)n, s);
        s += n;
        if (*s == '\n') {
            (void)fputc(*s++, to);
            width = 0;
        }
    }
    if (row->default_value != NULL) {
        (void)fprintf(to, " [%s]", row->default_value);
    }
    (void)fputc('\n', to);
}

void
options_help(FILE *to)
{
    (void)fputs(
        "usage: wsgi-cgi [OPTION ...] [APP]\n"
        "Serve a Python WSGI application over CGI or FastCGI.\n"
        "\n"
        "APP is a file (app.py), MODULE[:CALLABLE] or "
        "MODULE:FACTORY(). Options\n"
        "come before APP. Options in the variable " CONFIG_OPTIONS " are read\n"
        "first; those on the command line override them. Defaults are in\n"
        "brackets.\n",
        to);
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        if (table[i].name == NULL) {
            (void)fprintf(to, "\n%s:\n", table[i].help);
        }
        else {
            print_row(to, &table[i]);
        }
    }
}
