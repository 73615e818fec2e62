/*
 * config.h - the configuration from the command line, read-only
 *
 * What:      a plain struct, which conf/options fills and nobody changes later.
 * Owner:     main(); all others have a const pointer.
 * Lifetime:  the process. options_parse() allocates strings and lists, and
 *            config_fini() frees them.
 * Threads:   any (read only).                                    GIL: not used.
 * Errors:    none.                                               Blocks: never.
 */
#ifndef CONF_CONFIG_H
#define CONF_CONFIG_H

#include "os/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The variable with options. */
#define CONFIG_OPTIONS "WSGI_CGI_OPTIONS"

/* "1": a CGI process with --keep-warm has started this one, an instance. */
#define CONFIG_WARM "WSGI_CGI_WARM"

/* The variable with the request's id, from a CGI process to its instance. */
#define CONFIG_REQUEST_ID "WSGI_CGI_REQUEST_ID"

/* What --bind, --relay, --control, --ping, --status and --request take. */
#define CONFIG_ADDRESS                                                      \
    "unix:PATH, /PATH, @NAME, HOST:PORT, [IPV6]:PORT or :PORT (loopback), " \
    "where HOST is an IPv4 address or localhost"

/* What --allow takes. */
#define CONFIG_PEERS                                                      \
    "addresses and networks such as 10.0.0.0/8, localhost, or any; they " \
    "are separated by commas"

enum config_mode { MODE_AUTO, MODE_CGI, MODE_FASTCGI };
enum config_errors_to { ERRORS_TO_AUTO, ERRORS_TO_SERVER, ERRORS_TO_STDERR };
enum config_action {
    ACTION_RUN,
    ACTION_CHECK,
    ACTION_EXPLAIN,
    ACTION_HELP,
    ACTION_VERSION,
    ACTION_PING,    /* --ping ADDR */
    ACTION_STATUS,  /* --status ADDR */
    ACTION_REQUEST, /* --request ADDR METHOD PATH */
    ACTION_WARM_LIST,
    ACTION_WARM_STOP /* --warm-stop SCRIPT|all */
};

enum config_reload { RELOAD_SCRIPT, RELOAD_MODULES, RELOAD_OFF };
enum config_log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* The values of a repeatable option, in order. */
struct config_list {
    char **v;
    size_t n;
};

struct config {
    enum config_action action;
    enum config_mode mode;
    const char *app;      /* APP as written; NULL = none */
    const char *ignored;  /* the word after APP, where it cannot come from a
                           * client; NULL = none */
    bool is_shebang;      /* the options are those of a #! line */
    int options_end;      /* argv[] before this are the program and options */
    const char *callable; /* --callable, NULL = application, then app */
    const char *venv;     /* --venv DIR or NULL */
    const char *chdir;    /* --chdir DIR or NULL */
    const char *mount; /* --mount PATH: "" or "/app"; NULL = automatic rule */
    const char *scripts_in; /* --scripts-in DIR or NULL */
    const char *relay;      /* --relay ADDR, instead of APP, or NULL */
    bool keep_warm;         /* --keep-warm: CGI leaves an instance */
    bool is_warm; /* this process is one; written by main(), no option */
    struct config_list python_path; /* --python-path DIR ... */
    struct config_list set;         /* --set NAME=VALUE ... */
    struct config_list env;         /* --env NAME=VALUE ... */
    struct config_list bind;        /* --bind ADDR ... */
    struct config_list allow;       /* --allow CIDR|any ..., commas split */
    unsigned threads;               /* >= 1; auto = cores */
    unsigned limit_vars;            /* parameters of one request */
    uint64_t limit_head;            /* bytes of parameters of one request */
    uint64_t limit_body;            /* bytes, 0 = no limit */
    int64_t head_timeout_ms;        /* whole head of one request */
    int64_t body_timeout_ms;        /* until the next byte of the body */
    int64_t write_timeout_ms;       /* until the peer takes a byte */
    int64_t keepalive_timeout_ms;   /* until the next request */
    int64_t graceful_timeout_ms;    /* for running requests, at SIGTERM */
    int backlog;
    mode_t socket_mode;       /* of unix sockets we create */
    const char *socket_owner; /* "user[:group]" or NULL */
    enum config_errors_to errors_to;
    bool user_site;    /* --user-site */
    bool threads_auto; /* --threads auto */
    bool debug;
    bool doctor; /* --doctor, instead of APP */

    /* --x-sendfile: the name of the header, NULL = off. For a file below
     * dirs[i] its value is urls[i] and the rest of the path; both end in
     * "/". */
    const char *x_sendfile;
    struct config_list x_sendfile_urls, x_sendfile_dirs;

    /* Processes. */
    unsigned processes;     /* --processes N or MIN-MAX: N or MAX, auto = cores;
                             * 0 = no master */
    unsigned processes_min; /* MIN; N where the number is fixed */
    int64_t exit_idle_ms;   /* --exit-idle: nothing has come; 0 = never */
    int64_t idle_timeout_ms; /* --idle-timeout, where MIN < MAX */
    bool preload;            /* --preload: import once, then fork the workers */
    bool need_app;         /* --need-app: end instead of serving error pages */
    unsigned max_requests; /* of a process, 0 = no limit */
    unsigned max_requests_jitter; /* up to this many more, at random */
    uint64_t max_memory;        /* bytes of RSS after a request, 0 = no limit */
    int64_t request_timeout_ms; /* 0 = off */
    int64_t slow_ms;            /* 0 = off */
    int64_t queue_timeout_ms;   /* until a thread takes a request; 0 = off */
    enum config_reload reload;
    struct config_list touch_reload; /* --touch-reload FILE ... */
    const char *user;                /* --user NAME|UID or NULL */
    const char *group;               /* --group NAME|GID or NULL */
    int umask;                       /* -1 = unchanged */
    const char *pid_file;            /* or NULL */

    /* Status and logs. */
    const char *status_path; /* "/path" or NULL */
    const char *ping_path;   /* "/path" or NULL */
    const char *control;     /* --control ADDR or NULL */
    const char *log_file;    /* "-" = fd 2 with the time; NULL = fd 2, plain */
    const char *access_log;  /* FILE, "-" = the log, or NULL */
    const char *slow_log;    /* FILE, for --slow; NULL or "-" = the log */
    enum config_log_format log_format;
    enum log_level log_level; /* log lines up to this level */

    /* The client commands: ACTION_PING to ACTION_WARM_STOP. */
    const char *address;        /* ADDR; SCRIPT of --warm-stop */
    bool json;                  /* --json */
    const char *method, *path;  /* --request */
    struct config_list headers; /* -H "Name: value" ... */
    const char *data_file;      /* --data-file FILE or NULL */
    int64_t client_timeout_ms;  /* --timeout */
};

/* What the process serves, for people: APP, or what stands in its place. */
const char *config_application(const struct config *c);

/* --processes MIN-MAX: the number of workers follows the requests. */
static inline bool
config_is_elastic(const struct config *c)
{
    return c->processes_min < c->processes;
}

/* Frees what options_parse() allocated. */
void config_fini(struct config *c);

#endif
