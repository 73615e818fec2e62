/*
 * config.h - what the command line asked for: the read-only result
 *
 * What:      one plain struct, filled by conf/options, then never changed.
 * Owner:     main(); everyone else holds a const pointer.
 * Lifetime:  the process. Strings point into argv, the environment, or memory
 *            that options_parse() allocated and config_fini() frees.
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

enum config_mode { MODE_AUTO, MODE_CGI, MODE_FASTCGI };
enum config_errors_to { ERRORS_TO_AUTO, ERRORS_TO_SERVER, ERRORS_TO_STDERR };
enum config_action {
    ACTION_RUN,
    ACTION_CHECK,
    ACTION_EXPLAIN,
    ACTION_HELP,
    ACTION_VERSION,
    ACTION_PING,   /* --ping ADDR */
    ACTION_STATUS, /* --status ADDR */
    ACTION_REQUEST /* --request ADDR METHOD PATH */
};

enum config_reload { RELOAD_SCRIPT, RELOAD_MODULES, RELOAD_OFF };
enum config_log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* Words given by a repeatable option, in order. */
struct config_list {
    char **v;
    size_t n;
};

struct config {
    enum config_action action;
    enum config_mode mode;
    const char *app;      /* APP as written, NULL when there is none */
    const char *ignored;  /* the word behind APP, where no client can have
                           * written it; NULL when there is none */
    const char *callable; /* --callable, NULL = application, then app */
    const char *venv;     /* --venv DIR or NULL */
    const char *chdir;    /* --chdir DIR or NULL */
    const char *mount; /* --mount PATH: "" or "/app"; NULL = automatic rule */
    const char *scripts_in;         /* --scripts-in DIR or NULL */
    struct config_list python_path; /* --python-path DIR ... */
    struct config_list set;         /* --set NAME=VALUE ... */
    struct config_list bind;        /* --bind ADDR ... */
    struct config_list allow;       /* --allow CIDR|any ..., commas split */
    unsigned threads;               /* >= 1 */
    unsigned limit_vars;            /* parameters of one request */
    uint64_t limit_head;            /* bytes of parameters of one request */
    uint64_t limit_body;            /* bytes, 0 = no limit */
    int64_t head_timeout_ms;        /* whole head of one request */
    int64_t body_timeout_ms;        /* without a byte of the body */
    int64_t write_timeout_ms;       /* without a byte taken by the peer */
    int64_t keepalive_timeout_ms;   /* idle kept connection */
    int64_t graceful_timeout_ms;    /* running requests at TERM, USR1 */
    int backlog;
    mode_t socket_mode;       /* of unix sockets we create */
    const char *socket_owner; /* "user[:group]" or NULL */
    enum config_errors_to errors_to;
    bool user_site; /* with the packages of the user */
    bool debug;
    bool doctor; /* --doctor stands in the place of an application */

    /* --x-sendfile: files below dirs[i] become urls[i] and the rest of the path;
     * both end in "/". NULL: every file is sent. */
    const char *x_sendfile;
    struct config_list x_sendfile_urls, x_sendfile_dirs;

    /* Processes. */
    unsigned processes;    /* --processes N, auto = cores; 0 = no master */
    bool preload;          /* --preload: import once, then fork the workers */
    unsigned max_requests; /* of a process, 0 = no limit */
    unsigned max_requests_jitter; /* up to so many more, at random */
    uint64_t max_memory;          /* bytes of RSS after a request, 0 = none */
    int64_t request_timeout_ms;   /* 0 = none */
    int64_t slow_ms;              /* 0 = off */
    enum config_reload reload;
    const char *user;     /* --user NAME|UID or NULL */
    const char *group;    /* --group NAME|GID or NULL */
    int umask;            /* -1 = as found */
    const char *pid_file; /* or NULL */

    /* Seeing inside. */
    const char *status_path; /* "/path" or NULL */
    const char *ping_path;   /* "/path" or NULL */
    const char *control;     /* --control ADDR or NULL */
    const char *log_file;    /* or NULL = fd 2; "-": the same, as our own log */
    const char *access_log;  /* FILE, "-" = the log, or NULL */
    enum config_log_format log_format;
    enum log_level log_level; /* lines up to this one */

    /* The client in the same program: ACTION_PING, STATUS, REQUEST. */
    const char *address;        /* ADDR */
    bool json;                  /* --status --json */
    const char *method, *path;  /* --request */
    struct config_list headers; /* -H "Name: value" ... */
    const char *data_file;      /* --data-file FILE or NULL */
    int64_t client_timeout_ms;  /* --timeout */
};

/* Frees what options_parse() allocated. */
void config_fini(struct config *c);

#endif
