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
    ACTION_VERSION
};

/* Words given by a repeatable option, in order. */
struct config_list {
    char **v;
    size_t n;
};

struct config {
    enum config_action action;
    enum config_mode mode;
    const char *app;      /* APP as written, NULL when there is none */
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
    bool debug;
};

/* Frees what options_parse() allocated. */
void config_fini(struct config *c);

#endif
