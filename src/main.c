/*
 * main.c - the mode and the exit code
 *
 * Finds out how the process was started (as a web server's CGI script, by a
 * spawner with a FastCGI socket, or on its own) and runs that mode. Besides
 * this file, only those in process/, reload/, worker/, master/ and mode/ may
 * end the process.
 */
#include "base/compiler.h"
#include "client/client.h"
#include "conf/options.h"
#include "config.h"
#include "instances/instance_print.h"
#include "instances/instance_stop.h"
#include "mode/cgi_process.h"
#include "mode/check.h"
#include "mode/fcgi_process.h"
#include "mode/start_mode.h"
#include "mode/startup.h"
#include "os/fd.h"
#include "os/log.h"
#include "process/logs.h"
#include "process/pid_file.h"
#include "process/signals.h"
#include "python/interp.h"
#include "reload/restart.h"
#include "transport/cgi.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

extern char **environ;

static struct config config; /* written before the first thread starts */

/* Ends without finalizing Python: interp_finish() has done what is necessary.
 * LeakSanitizer runs only when main() returns. */
static int
leave(int status)
{
    pid_file_remove();
#if HAS_ASAN
    return status;
#else
    (void)fflush(NULL);
    _exit(status);
#endif
}

/* Started by hand: errors in the arguments come first. */
static int
usage(char **argv)
{
    int status = argv[1] != NULL ? startup_prepare(&config, false) : 0;

    (void)fprintf(
        stderr,
        "wsgi-cgi: no socket to listen on and no CGI request\n"
        "usage: wsgi-cgi [options] APP\n"
        "  in a cgi-bin:    make '#!/path/to/wsgi-cgi' the first line of APP\n"
        "  under a spawner: a listening socket on descriptor 0\n"
        "  on its own:      wsgi-cgi --bind unix:/run/app.sock APP\n"
        "See wsgi-cgi --help; --explain shows what was found.\n");
    return status != 0 ? status : EX_USAGE;
}

static int
run(const struct start_mode *s, char **argv)
{
    static struct doctor_facts facts;
    struct doctor_facts *doctor = NULL;

    if (config.umask >= 0) {
        (void)umask((mode_t)config.umask);
    }
    switch (config.action) {
    case ACTION_HELP:
        options_help(stdout);
        return EX_OK;
    case ACTION_VERSION:
        (void)printf("wsgi-cgi %s (Python %s)\n", WSGI_CGI_VERSION,
                     interp_version());
        return EX_OK;
    case ACTION_EXPLAIN:
        return start_mode_explain(s, &config, argv);
    case ACTION_CHECK:
        return check_run(&config, s->mode, argv);
    case ACTION_PING:
        return client_ping(&config);
    case ACTION_STATUS:
        return client_status(&config);
    case ACTION_REQUEST:
        return client_request(&config);
    case ACTION_WARM_LIST:
        return instance_print(&config);
    case ACTION_WARM_STOP:
        return instance_stop(&config);
    case ACTION_RUN:
        break;
    }
    /* After a restart clients wait, perhaps those of an older version that
     * accepted the word. */
    int status = restart_is_one() ? 0 : start_mode_check_words(s, &config);
    if (status != 0) {
        return status;
    }
    if (config.doctor && s->mode != MODE_AUTO) {
        start_mode_examine(s, &config, argv, &facts);
        doctor = &facts;
    }
    assert(s->why != NULL); /* start_mode_detect() was called */
    switch (s->mode) {
    case MODE_CGI:
        return cgi_process_run(&config, s, argv, doctor);
    case MODE_FASTCGI:
        return fcgi_process_run(&config, s, argv, doctor);
    case MODE_AUTO:
        break;
    }
    return usage(argv);
}

static bool
shares_pipe(int a, int b)
{
    struct stat st;

    return fd_same(a, b) && fstat(a, &st) == 0 &&
           (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

int
main(int argc, char **argv)
{
    struct start_mode start = {.mode = MODE_AUTO};
    int status;

    start.request_in_env =
        getenv("REQUEST_METHOD") != NULL || getenv("GATEWAY_INTERFACE") != NULL;
    start.was_kept_warm = start_mode_take_warm();
    bool is_cgi = start.request_in_env && !fd_is_listening(STDIN_FILENO);
    if (start.was_kept_warm) {
        signals_hold(); /* clients wait already: no signal may kill it */
    }
    signals_init(restart_is_one() || start.was_kept_warm);
    if (fd_sanitize(&start.was_closed) < 0) {
        return leave(EX_OSERR);
    }
    if (is_cgi) {
        log_set_id(cgi_log_id);
    }
    start.shares_stderr =
        start.request_in_env && shares_pipe(STDOUT_FILENO, STDERR_FILENO);
    if (start.shares_stderr) {
        /* mini_httpd: descriptor 2 is that of the response */
        log_to_syslog(true);
    }
    status = options_parse(argc, argv, start.request_in_env, &config);
    if (status == 0) {
        /* It always has a master: the CGI process says --processes. */
        config.is_warm = start.was_kept_warm && config.processes > 0;
        logs_set_up(&config);
        start_mode_detect(&start, &config);
        status = run(&start, argv);
    }
    else if (is_cgi) {
        /* The client must not get an empty response. */
        struct cgi_io io = {STDIN_FILENO, STDOUT_FILENO};
        cgi_fail(&config, environ, &io);
    }
    config_fini(&config);
    return leave(status);
}
