#include "status/notify.h"

#include "os/fd.h"
#include "os/log.h"
#include "status/scoreboard.h"
#include "text/num.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    STATUS_EVERY_MS = 10000,
    OVERDUE_MS = 100, /* when to look again after a missed WATCHDOG=1 */
    MESSAGE = 512
};

/* All fields belong to the thread that calls these functions. */
static struct {
    int fd;                  /* -1 = there is no systemd */
    enum notify_state state; /* the last one that was sent */
    unsigned reloads;
    int64_t status_at_ms; /* when to look at the counts again */
    int64_t watchdog_ms;  /* half of WATCHDOG_USEC, 0 = no watchdog */
    int64_t watchdog_at_ms;
    char status[MESSAGE]; /* the last one that was sent */
} notify = {.fd = -1};

/* -- the beginning --------------------------------------------------------- */

/* Connects to a path, or to @ and an abstract name. 0 or -errno. */
static int
open_socket(const char *address)
{
    union {
        struct sockaddr any;
        struct sockaddr_un un;
    } a = {.un.sun_family = AF_UNIX};
    size_t n = strlen(address);

    if ((address[0] != '/' && address[0] != '@') || n < 2 ||
        n >= sizeof a.un.sun_path) {
        return -EINVAL;
    }
    memcpy(a.un.sun_path, address, n);
    if (address[0] == '@') {
        a.un.sun_path[0] = '\0';
    }
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    notify.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (notify.fd < 0 || connect(notify.fd, &a.any, len) < 0) {
        int e = -errno;
        fd_close(&notify.fd);
        return e;
    }
    return 0;
}

static void
read_watchdog(const char *usec, const char *pid)
{
    uint64_t n;

    if (usec == NULL) {
        return;
    }
    if (pid != NULL && (num_parse(pid, strlen(pid), INT32_MAX, &n) < 0 ||
                        (pid_t)n != getpid())) {
        return; /* meant for another process */
    }
    if (num_parse(usec, strlen(usec), INT64_MAX, &n) < 0 || n == 0) {
        log_warning("WATCHDOG_USEC: invalid value \"%s\": expected a number of "
                    "microseconds; the watchdog is off",
                    usec);
        return;
    }
    notify.watchdog_ms = n < 2000 ? 1 : (int64_t)(n / 2000);
}

void
notify_hide(void)
{
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
}

void
notify_open(int inherited_fd)
{
    const char *address = getenv("NOTIFY_SOCKET");
    int e = 0;

    assert(notify.fd < 0); /* once in a process */
    memset(&notify, 0, sizeof notify);
    notify.fd = -1;
    if (inherited_fd >= 0 && fcntl(inherited_fd, F_SETFD, FD_CLOEXEC) == 0) {
        notify.fd = inherited_fd;
    }
    else if (address != NULL) {
        e = open_socket(address);
    }

    if (e < 0) {
        log_warning("NOTIFY_SOCKET: %s: %s: systemd gets no messages", address,
                    strerror(-e));
    }
    if (notify.fd >= 0) {
        read_watchdog(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"));
    }
    notify_hide();
}

void
notify_forget(void)
{
    fd_close(&notify.fd);
    notify.watchdog_ms = 0;
}

int
notify_fd(void)
{
    return notify.fd;
}

bool
notify_is_on(void)
{
    return notify.fd >= 0;
}

/* -- messages -------------------------------------------------------------- */

/* False: the queue is full; send it again later. */
static bool
send_message(const char *text)
{
    ssize_t n = send(notify.fd, text, strlen(text), MSG_NOSIGNAL);
    return n >= 0 || (errno != EAGAIN && errno != ENOBUFS && errno != EINTR);
}

/* One line for "systemctl status". */
static void
describe(char *to, size_t size, enum notify_state state,
         struct scoreboard *board)
{
    static const char *const words[] = {
        [NOTIFY_STARTING] = "starting",
        [NOTIFY_READY] = "serving",
        [NOTIFY_RELOADING] = "loading the new code",
        [NOTIFY_STOPPING] = "finishing requests",
    };
    struct score_totals t;
    char processes[64] = "";

    assert(state < ARRAY_SIZE(words));
    scoreboard_totals(board, &t);
    if (board->nworkers > 1) {
        (void)snprintf(processes, sizeof processes,
                       "; processes ready: %u of %u", t.ready, t.workers);
    }
    (void)snprintf(to, size, "%s%s; threads busy: %u of %u; requests: %llu%s",
                   words[state], processes, t.active, t.threads,
                   (unsigned long long)t.requests,
                   t.broken > 0 ? "; the application does not load: error "
                                  "pages are served"
                                : "");
}

static bool
send_status(const char *what, const char *status)
{
    char message[2 * MESSAGE];

    (void)snprintf(message, sizeof message, "%sSTATUS=%s", what, status);
    return send_message(message);
}

/* systemd 253 and later compare this time with that of their SIGHUP. */
static bool
send_reloading(const char *status)
{
    char what[64];
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    (void)snprintf(what, sizeof what, "RELOADING=1\nMONOTONIC_USEC=%lld\n",
                   (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000);
    return send_status(what, status);
}

static bool
send_state(enum notify_state state, const char *status)
{
    switch (state) {
    case NOTIFY_READY:
        return send_status("READY=1\n", status);
    case NOTIFY_RELOADING:
        return send_reloading(status);
    case NOTIFY_STOPPING:
        return send_status("STOPPING=1\n", status);
    case NOTIFY_STARTING:
        break;
    }
    return send_status("", status);
}

void
notify_tell(enum notify_state state, unsigned reloads, struct scoreboard *board,
            int64_t now_ms)
{
    /* A reload during the start changes nothing. */
    bool asked = reloads != notify.reloads && state != NOTIFY_STARTING;
    bool news = state != notify.state || asked;
    char status[MESSAGE];

    if (notify.fd < 0 || (!news && now_ms < notify.status_at_ms)) {
        return;
    }
    describe(status, sizeof status, state, board);
    if (asked && state == NOTIFY_READY && notify.state == NOTIFY_READY &&
        !send_reloading(status)) {
        return;
    }
    if (news || strcmp(status, notify.status) != 0) {
        if (!(news ? send_state(state, status) : send_status("", status))) {
            return; /* tries again in the next round */
        }
        memcpy(notify.status, status, sizeof status);
    }
    notify.state = state;
    notify.reloads = reloads;
    notify.status_at_ms = now_ms + STATUS_EVERY_MS;
}

/* -- the watchdog ---------------------------------------------------------- */

bool
notify_watchdog_is_due(int64_t now_ms)
{
    return notify.watchdog_ms > 0 && now_ms >= notify.watchdog_at_ms;
}

int
notify_wait_ms(int64_t now_ms, int at_most)
{
    int64_t left = notify.watchdog_at_ms - now_ms;

    if (notify.watchdog_ms == 0 || left >= at_most) {
        return at_most;
    }
    return left > 0 ? (int)left : at_most < OVERDUE_MS ? at_most : OVERDUE_MS;
}

void
notify_watchdog(int64_t now_ms)
{
    assert(notify.fd >= 0 && notify.watchdog_ms > 0);
    if (send_message("WATCHDOG=1")) {
        notify.watchdog_at_ms = now_ms + notify.watchdog_ms;
    }
}
