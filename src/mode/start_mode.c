#include "mode/start_mode.h"

#include "base/buf.h"
#include "conf/options.h"
#include "instances/instance_explain.h"
#include "os/fd.h"
#include "os/log.h"
#include "process/environment.h"
#include "python/interp.h"
#include "reload/restart.h"
#include "text/num.h"

#include <assert.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

/* sd_listen_fds(3): the descriptors are for us only if the pid is ours. */
static int
inherited_listeners(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t p, n;

    if (pid == NULL || fds == NULL ||
        num_parse(pid, strlen(pid), INT_MAX, &p) < 0 ||
        num_parse(fds, strlen(fds), RESTART_LISTENERS_MAX, &n) < 0 ||
        (pid_t)p != getpid()) {
        return 0;
    }
    return (int)n;
}

static bool
is_unix_socket(int fd)
{
    int domain = AF_UNSPEC;
    socklen_t len = sizeof domain;

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
           domain == AF_UNIX;
}

bool
start_mode_take_warm(void)
{
    const char *value = getenv(CONFIG_WARM);
    bool is_warm = value != NULL && strcmp(value, "1") == 0 &&
                   fd_is_listening(STDIN_FILENO) &&
                   is_unix_socket(STDIN_FILENO);

    (void)unsetenv(CONFIG_WARM);
    return is_warm;
}

void
start_mode_detect(struct start_mode *s, const struct config *config)
{
    s->inherited = inherited_listeners();
    s->fd0_listens = fd_is_listening(STDIN_FILENO);
    s->mode = MODE_FASTCGI;
    if (config->is_warm) {
        s->why = CONFIG_WARM ": a CGI process with --keep-warm has started it";
    }
    else if (config->mode != MODE_AUTO) {
        s->mode = config->mode;
        s->why = "--mode sets it";
    }
    else if (restart_is_one()) {
        s->why = "the program has restarted itself with its sockets";
    }
    else if (config->bind.n > 0) {
        s->why = "--bind names a socket to listen on";
    }
    else if (s->inherited > 0) {
        s->why = "LISTEN_FDS and LISTEN_PID pass listening sockets";
    }
    else if (s->fd0_listens) {
        s->why = "descriptor 0 is a listening socket";
    }
    else if (s->request_in_env) {
        s->mode = MODE_CGI;
        s->why = "REQUEST_METHOD or GATEWAY_INTERFACE is in the environment";
    }
    else {
        s->mode = MODE_AUTO;
        s->why = "no socket to listen on and no CGI request";
    }
}

/* True where a web server may have added the words of a client's query. */
static bool
is_command_of_server(const struct start_mode *s, const struct config *config)
{
    return s != NULL &&
           (s->mode == MODE_CGI || (s->mode == MODE_FASTCGI &&
                                    config->bind.n == 0 && s->inherited == 0));
}

int
start_mode_check_words(const struct start_mode *s, const struct config *config)
{
    const char *word = config->ignored;

    if (word == NULL) {
        return 0;
    }
    char meant[SUGGEST_SIZE] = "";
    bool is_option = word[0] == '-';
    if (is_command_of_server(s, config)) {
        log_warning("\"%s\" after APP (%s) is ignored%s", word, config->app,
                    is_option ? ": options come before APP" : "");
        return 0;
    }
    if (is_option) {
        options_suggest(word, meant);
    }
    log_error("\"%s\" after APP (%s): %s%s%s", word, config->app,
              is_option ? "options come before APP"
                        : "nothing is read there: remove it",
              meant[0] != '\0' ? "; " : "", meant);
    return EX_USAGE;
}

static const char *
kind_of_fd(int fd, char *to, size_t size)
{
    struct stat st;

    if (fd_is_listening(fd)) {
        return "listening socket";
    }
    if (fstat(fd, &st) < 0) {
        return "closed";
    }
    switch (st.st_mode & S_IFMT) {
    case S_IFSOCK:
        return "connected socket";
    case S_IFIFO:
        return "pipe";
    case S_IFREG:
        return "file";
    case S_IFCHR:
        return isatty(fd) ? "terminal" : "character device";
    default:
        (void)snprintf(to, size, "file of mode %o", (unsigned)st.st_mode);
        return to;
    }
}

static const char *const mode_names[] = {
    [MODE_AUTO] = "none", [MODE_CGI] = "cgi", [MODE_FASTCGI] = "fastcgi"};

/* What it was at the start; closed ones have been opened since. */
static const char *
kind_at_start(const struct start_mode *s, int fd, char *to, size_t size)
{
    assert(fd >= 0 && fd <= 2);
    return s->was_closed >> fd & 1 ? "closed" : kind_of_fd(fd, to, size);
}

/* After --env, which Python would obey. */
static void
explain_python(const struct config *config)
{
    char python[PATH_MAX];

    if (environment_set(config) == 0) {
        (void)printf("python: %s\n", interp_version());
    }
    if (interp_executable(config, python, sizeof python) == 0) {
        (void)printf("python executable: %s\n", python);
    }
}

int
start_mode_explain(const struct start_mode *s, const struct config *config,
                   char **argv)
{
    char other[64], warm[INSTANCE_TEXT_SIZE] = "";

    assert(s->why != NULL && s->mode < ARRAY_SIZE(mode_names));
    if (s->request_in_env && !s->fd0_listens) {
        (void)printf("Status: 200 OK\r\n"
                     "Content-Type: text/plain; charset=utf-8\r\n\r\n");
    }
    (void)printf("mode: %s\nbecause: %s\n", mode_names[s->mode], s->why);
    for (int fd = 0; fd <= 2; fd++) {
        (void)printf("descriptor %d: %s\n", fd,
                     kind_at_start(s, fd, other, sizeof other));
    }
    (void)printf("REQUEST_METHOD: %s\n", getenv("REQUEST_METHOD") != NULL
                                             ? getenv("REQUEST_METHOD")
                                             : "(not set)");
    (void)printf("GATEWAY_INTERFACE: %s\n", getenv("GATEWAY_INTERFACE") != NULL
                                                ? getenv("GATEWAY_INTERFACE")
                                                : "(not set)");
    (void)printf("LISTEN_FDS for this process: %d\n", s->inherited);
    for (size_t i = 0; i < config->bind.n; i++) {
        (void)printf("bind: %s\n", config->bind.v[i]);
    }
    (void)printf("application: %s\n", config->app != NULL ? config->app
                                      : config->scripts_in != NULL
                                          ? "the request's SCRIPT_FILENAME"
                                          : "(none given)");
    if (config->scripts_in != NULL) {
        (void)printf("scripts below: %s\n", config->scripts_in);
    }
    if (config->relay != NULL) {
        (void)printf("relay to: %s\n", config->relay);
    }
    (void)printf("mount: %s\n", config->mount == NULL
                                    ? "(the server's split, corrected)"
                                : config->mount[0] == '\0' ? "/"
                                                           : config->mount);
    if (config->keep_warm) {
        instance_explain(config, s->mode, argv, warm); /* before --env */
    }
    explain_python(config);
    if (config->keep_warm) {
        (void)printf("warm: %s\n", warm);
    }
    int status = start_mode_check_words(s, config);
    return s->mode == MODE_AUTO ? EX_USAGE : status;
}

/* Only checks whether Python could start: the page also helps to find out why
 * it does not. */
void
start_mode_examine(const struct start_mode *s, struct config *config,
                   char **argv, struct doctor_facts *ret)
{
    static char python[PATH_MAX], said[1024], warm[INSTANCE_TEXT_SIZE];
    struct buf reasons;
    char other[64];

    assert(s->why != NULL && s->mode != MODE_AUTO);
    ret->mode = mode_names[s->mode];
    ret->why = s->why;
    for (int fd = 0; fd <= 2; fd++) {
        (void)snprintf(ret->fd[fd], sizeof ret->fd[fd], "%s",
                       kind_at_start(s, fd, other, sizeof other));
    }
    buf_init(&reasons, sizeof said - 1);
    log_copy_to(&reasons);
    ret->python_status = environment_set(config);
    if (ret->python_status == 0) {
        ret->python_status = interp_check(config);
    }
    log_copy_to(NULL);
    if (reasons.len > 0) {
        (void)snprintf(said, sizeof said, "%.*s", (int)reasons.len - 1,
                       reasons.data);
    }
    for (char *end = said; (end = strchr(end, '\n')) != NULL;) {
        *end = ';';
    }
    buf_fini(&reasons);
    if (interp_executable(config, python, sizeof python) < 0) {
        python[0] = '\0';
    }
    ret->python = interp_version();
    ret->executable = python;
    ret->python_said = said;
    if (config->keep_warm) {
        instance_explain(config, s->mode, argv, warm);
        ret->warm = warm;
    }
    /* They need Python, which does not start. */
    config->request_timeout_ms = config->slow_ms = 0;
    config->preload = false;
    if (s->mode == MODE_FASTCGI) {
        log_notice("--doctor is on: anyone who can reach it sees what the web "
                   "server sends");
    }
}
