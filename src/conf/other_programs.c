/*
 * other_programs.c - options of other programs, and what they are called here
 *
 * Only names that wsgi-cgi does not have. tests/unit/test_suggest.c checks that
 * every option that a text recommends exists.
 */
#include "conf/other_programs.h"

#include "base/compiler.h"

#include <stdbool.h>
#include <string.h>

#define NOTHING_NEEDED "it needs no such option"
#define NO_HTTP                                                        \
    "it speaks FastCGI and CGI, not HTTP: put a web server before it " \
    "(wsgi-cgi-servers(7))"
#define NO_FILE                                                              \
    "there is no configuration file: write options on the command line, in " \
    "the #! line or in WSGI_CGI_OPTIONS"
#define FOREGROUND \
    "it stays in the foreground: use systemd, supervisor or spawn-fcgi"
#define SERVICE_MANAGER "use the service manager, such as systemd, for that"
#define NO_EVENT_LOOP "there are no event loops: use --threads and --processes"

/* clang-format off */
static const struct other_program_row table[] = {
    /* The application. */
    {"module wsgi-file wsgi wsgi-app wsgi-module file app application app-module "
     "entry-point startup-file script wsgi-script-alias wsgiscriptalias -f",
     "write it as APP, after the options"},
    {"factory", "write MODULE:FACTORY() as APP"},
    {"asgi interface lifespan",
     "it serves WSGI applications: convert an ASGI one with "
     "a2wsgi.ASGIMiddleware"},
    {"callable-object wsgicallableobject wsgi-callable-object app-callable",
     "use --callable"},
    {"virtualenv pyhome python-home wsgipythonhome wsgi-python-home virtual-env",
     "use --venv"},
    {"home", "use --venv (home of uWSGI) or --chdir (home of mod_wsgi)"},
    {"pythonpath pp wsgipythonpath wsgi-python-path app-dir include-path",
     "use --python-path"},
    {"chdir2 cwd directory dir working-directory workdir work-dir",
     "use --chdir"},
    {"root-path url-prefix script-name url-alias mount-point manage-script-name "
     "prefix base-url base-uri", "use --mount"},
    {"raw-env setenv set-env environment env-var define -e", "use --env"},
    {"env-file", "use EnvironmentFile= of systemd, or --env"},
    {"clear-env", "start it with env -i"},
    {"lang locale", "use --env LC_ALL=..."},
    {"plugin plugins need-plugin python", "it needs no such option: Python is "
     "built in"},
    {"static-map static-path static-root static-index check-static "
     "check-static-docroot document-root docroot static",
     "let the web server serve static files; files of the application: "
     "--x-sendfile"},
    {"wsgi-disable-file-wrapper no-sendfile offload-threads enable-sendfile",
     NOTHING_NEEDED},

    /* Sockets. */
    {"socket listen address addr bindpath bind-path fastcgi-socket fcgi-socket "
     "uds unix unix-socket socket-path sock fcgi -s -a", "use --bind"},
    {"host port ip", "use --bind HOST:PORT"},
    {"abstract-socket", "use --bind @NAME"},
    {"fd", "pass the socket as descriptor 0 or with LISTEN_FDS"},
    {"uwsgi-socket uwsgi scgi scgi-socket uwsgi-protocol protocol",
     "it speaks FastCGI: use --bind, and fastcgi_pass in nginx"},
    {"http http-socket http11-socket https https-socket http-timeout "
     "http-keepalive http-to shared-socket keyfile certfile ca-certs cert-reqs "
     "ssl-version ssl-keyfile ssl-certfile ciphers tls ssl proxy-protocol",
     NO_HTTP},
    {"chmod-socket chmod listen-mode socket-permissions", "use --socket-mode"},
    {"chown-socket chown listen-owner listen-group socket-user socket-group "
     "listen-acl-users listen-acl-groups -U -G", "use --socket-owner"},
    {"listen-backlog max-backlog", "use --backlog"},
    {"listen-allowed-clients allowed-clients allow-from allowed-hosts acl",
     "use --allow"},
    {"forwarded-allow-ips trust-proxy proxy-headers trust-proxy-header "
     "secure-scheme-headers forwarder-headers",
     "let the web server set REMOTE_ADDR and HTTPS"},
    {"reuse-port freebind so-keepalive socket-sndbuf socket-rcvbuf "
     "thunder-lock close-on-exec close-on-exec2 honour-stdin vacuum "
     "die-on-term no-orphans strict ignore-sigpipe ignore-write-errors "
     "disable-write-exception enable-stdio-inheritance single-interpreter "
     "application-group wsgiapplicationgroup post-buffering "
     "response-buffer-size send-buffer-size receive-buffer-size "
     "proxy-buffer-size worker-tmp-dir no-header no-chdir lazy lazy-apps "
     "initgroups no-initgroups",
     NOTHING_NEEDED},

    /* Threads and processes. */
    {"worker workers children num-processes nproc process-max pm-max-children "
     "max-children worker-processes max-pool-size instances forks processes-max "
     "passenger-max-pool-size php-fcgi-children", "use --processes"},
    {"pm pm-start-servers pm-min-spare-servers pm-max-spare-servers "
     "pm-max-spawn-rate cheap cheaper cheaper-initial cheaper-step "
     "cheaper-algo cheaper-overload min-instances passenger-min-instances",
     "use --processes MIN-MAX"},
    {"pm-process-idle-timeout idle inactivity-timeout passenger-pool-idle-time",
     "use --processes 0-MAX and --idle-timeout"},
    {"die-on-idle exit-on-idle exit-idle-time", "use --exit-idle"},
    {"master master-process", "use --processes: it starts a master"},
    {"enable-threads num-threads threads-count -T", "use --threads"},
    {"worker-class async gevent ugreen greenlet asyncio tornado eventlet loop "
     "worker-connections coroutines -k", NO_EVENT_LOOP},
    {"preload-app", "use --preload"},
    {"maximum-requests pm-max-requests limit-max-requests max-worker-requests "
     "php-fcgi-max-requests max-request requests -R", "use --max-requests"},
    {"max-requests-delta", "use --max-requests-jitter"},
    {"max-worker-lifetime restart-interval max-lifetime min-worker-lifetime",
     "use --max-requests, or send SIGHUP at intervals"},
    {"reload-on-rss evil-reload-on-rss reload-on-as evil-reload-on-as "
     "memory memory-limit mem-limit max-rss max-memory-per-child", "use --max-memory"},
    {"limit-as virtual-memory-limit rlimit-files rlimit-core cpu-time-limit "
     "stack-size nice prio process-priority cpu-priority cpu-affinity chroot "
     "jail cgroup namespace", SERVICE_MANAGER},
    {"reload-extra-file reload-extra-files touch-chain-reload "
     "touch-workers-reload fs-brutal-reload", "use --touch-reload"},
    {"py-autoreload python-autoreload python-auto-reload py-auto-reload "
     "reload-on-changes fs-reload auto-reload autoreload reload-engine",
     "use --reload modules"},
    {"wsgiscriptreloading wsgi-script-reloading no-reload", "use --reload"},
    {"uid username run-as -u", "use --user"},
    {"gid", "use --group"},
    {"pid pidfile pidfile2 safe-pidfile pid-path -P", "use --pid-file"},
    {"daemon daemonize daemonize2 background nodaemonize nodaemon foreground "
     "no-daemon detach -D", FOREGROUND},
    {"cron cron2 timer spooler spooler-processes mule mules farm attach-daemon "
     "queue cache2 sharedarea legion", "it only serves requests: use cron, "
     "systemd or a task queue for that"},
    {"emperor vassals vassals-dir zerg broodlord",
     "use one service for each application, or --scripts-in"},
    {"procname procname-prefix auto-procname proc-name default-proc-name name "
     "display-name title", "it needs no such option: ps shows the application"},

    /* Limits and timeouts. */
    {"limit-post limit-request-body max-request-body-size post-max-size "
     "upload-max-filesize upload-limit client-max-body-size max-body-size "
     "max-upload fcgidmaxrequestlen", "use --limit-body"},
    {"buffer-size limit-request-line limit-request-field-size "
     "header-buffer-size max-header-size max-request-header-size "
     "h11-max-incomplete-event-size", "use --limit-head"},
    {"limit-request-fields max-headers max-vars", "use --limit-vars"},
    {"harakiri request-terminate-timeout max-execution-time time-limit "
     "deadlock-timeout worker-timeout kill-timeout", "use --request-timeout"},
    {"request-slowlog-timeout log-slow harakiri-verbose", "use --slow"},
    {"slowlog", "use --slow-log"},
    {"reload-mercy worker-reload-mercy mule-reload-mercy shutdown-timeout "
     "process-control-timeout stop-timeout timeout-graceful-shutdown "
     "eviction-timeout", "use --graceful-timeout"},
    {"keep-alive keepalive timeout-keep-alive", "use --keepalive-timeout"},
    {"socket-timeout channel-timeout read-timeout recv-timeout",
     "use --body-timeout and --write-timeout"},
    {"send-timeout", "use --write-timeout"},

    /* Logs and status. */
    {"log logfile logto logto2 logger log-master error-log error-logfile "
     "error-log-name errorlog log-path log-directory", "use --log-file"},
    {"log-to-terminal force-stderr",
     "it logs to standard error without --log-file"},
    {"access-logfile accesslog req-logger access-log-name", "use --access-log"},
    {"disable-logging no-access-log -L",
     "there is no access log without --access-log"},
    {"logformat access-format access-logformat log-config log-config-dict "
     "logger-class log-encoder use-colors",
     "the formats are those of --log-format"},
    {"loglevel verbosity verbose quiet silent -q", "use --log-level"},
    {"log-syslog log-syslog-to log-syslog-prefix log-syslog-facility syslog "
     "rsyslog-logger", SERVICE_MANAGER},
    {"log-maxsize log-backupname log-backupcount touch-logreopen touch-logrotate "
     "log-reopen log-rotate rotate-logs", "use logrotate, and SIGUSR1"},
    {"capture-output catch-workers-output decorate-workers-output "
     "log-5xx log-4xx catch-exceptions display-errors",
     "it needs no such option: tracebacks and output are in the log; for a "
     "page use --debug"},
    {"stats stats-server stats-http stats-push memory-report statsd-host "
     "statsd-prefix metrics server-metrics pm-status-path status-url",
     "use --status-path or --control"},
    {"error-page error-pages error-document errordocument",
     "let the web server replace error pages (fastcgi_intercept_errors of "
     "nginx, ProxyErrorOverride of Apache); for tracebacks use --debug"},
    {"pm-status-listen", "use --control"},
    {"ping-response health-check healthcheck", "use --ping-path"},
    {"py-tracebacker", "send SIGUSR2: the stacks are in the log"},

    /* Questions. */
    {"check-config configtest config-test test-config test syntax-check lint "
     "dry-run", "use --check"},
    {"show-config print-config", "use --explain"},
    {"info phpinfo", "use --doctor"},
    {"usage man", "use --help"},
    {"config conf config-file configuration ini yaml yml xml toml fpm-config "
     "php-ini no-php-ini paste -c -y -x", NO_FILE},

    /* Letters with several meanings. */
    {"-w", "use --processes (-w of gunicorn), or write the module as APP (-w of "
     "uWSGI)"},
    {"-d", "use --env (-d of php-cgi) or --chdir (-d of spawn-fcgi); it stays "
     "in the foreground (-d of uWSGI)"},
    {"-F", "use --processes (-F of spawn-fcgi); it stays in the foreground (-F "
     "of php-fpm)"},
    {"-C", "use --processes (-C of spawn-fcgi) or --socket-mode (-C of uWSGI)"},
    {"-M", "use --socket-mode (-M of spawn-fcgi) or --processes (-M of uWSGI)"},
    {"-g", "use --group, or --pid-file (-g of php-fpm)"},
    {"-l", "use --check (-l of php-cgi) or --backlog (-l of uWSGI)"},
    {"-i", "use --doctor"},
    {"-m", "use --umask"},
    {"-n", FOREGROUND},
    {"-v", "use --version"},
};
/* clang-format on */

const struct other_program_row *
other_programs(size_t *ret_n)
{
    *ret_n = ARRAY_SIZE(table);
    return table;
}

/* True where name is one of the words of names. */
static bool
has_word(const char *names, const char *name)
{
    size_t n = strlen(name);
    for (const char *s = names; n > 0 && *s != '\0'; s += strspn(s, " ")) {
        size_t length = strcspn(s, " ");
        if (length == n && strncmp(s, name, n) == 0) {
            return true;
        }
        s += length;
    }
    return false;
}

const char *
other_programs_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        if (has_word(table[i].names, name)) {
            return table[i].use;
        }
    }
    return NULL;
}
