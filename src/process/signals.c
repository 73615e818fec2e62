#include "process/signals.h"

#include "os/fd.h"
#include "python/python_signals.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <ucontext.h>
#include <unistd.h>

static const int numbers[] = {SIGTERM, SIGUSR1, SIGHUP,  SIGINT, SIGQUIT,
                              SIGUSR2, SIGTTIN, SIGTTOU, SIGCHLD};

/* Written by the handlers. */
static atomic_int stop; /* enum signals_stop */
static atomic_int stop_number;
static atomic_uint reloads, reopens, dumps, more, less;
/* Written at the start, and in a forked child before it has threads. */
static int wake_fd = -1;
static bool handlers_set;
static atomic_bool is_held; /* signals wait for the next program */
static bool usr1_reopens;   /* else it stops */
/* In a worker, which may get TERM twice: systemd sends it to all processes of a
 * service, and so does the master. */
static atomic_bool is_patient;

void
signals_hold(void)
{
    sigset_t ours;

    (void)sigemptyset(&ours);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        (void)sigaddset(&ours, numbers[i]);
    }
    (void)sigprocmask(SIG_BLOCK, &ours, NULL);
}

void
signals_hold_for_exec(void)
{
    signals_hold();
    atomic_store(&is_held, true);
}

void
signals_release(void)
{
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

void
signals_init(bool held)
{
    struct sigaction sa = {.sa_handler = SIG_IGN};

    if (!held) {
        signals_release();
    }
    (void)sigaction(SIGPIPE, &sa, NULL);
    /* A write beyond the file size limit fails with EFBIG, as a full disk does
     * with ENOSPC. Python restores both signals for the programs that it
     * starts. */
    (void)sigaction(SIGXFSZ, &sa, NULL);
    sa.sa_handler = SIG_DFL;
    (void)sigaction(SIGCHLD, &sa, NULL);
}

void
signals_set_usr1(bool reopens_logs)
{
    assert(!handlers_set);
    usr1_reopens = reopens_logs;
}

static void
do_nothing(UNUSED int number)
{
}

void
signals_spare(void)
{
    static const int spared[] = {SIGHUP, SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU};
    /* Not SIG_IGN, which the programs that the application starts would
     * inherit. */
    struct sigaction sa = {.sa_handler = do_nothing, .sa_flags = SA_RESTART};

    for (size_t i = 0; i < ARRAY_SIZE(spared); i++) {
        (void)sigaction(spared[i], &sa, NULL);
    }
}

void
signals_wake(void)
{
    const uint64_t one = 1;
    int saved = errno;

    if (write(wake_fd, &one, sizeof one) < 0) {
        /* It is full, and so readable. */
    }
    errno = saved;
}

/* A thread that does not block our signals has got one. It blocks them from now
 * on, and the signal waits for the next program. */
static void
pass_on(int number, ucontext_t *context)
{
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        (void)sigaddset(&context->uc_sigmask, numbers[i]);
    }
    (void)kill(getpid(), number);
}

static void
note_stop(int number)
{
    if (atomic_load(&stop_number) == 0) {
        atomic_store(&stop_number, number);
    }
}

static void
ask_to_stop(int number)
{
    note_stop(number);
    if (atomic_load(&stop) == STOP_NONE) {
        atomic_store(&stop, STOP_GRACEFUL);
    }
    else if (!atomic_load(&is_patient)) {
        atomic_store(&stop, STOP_NOW);
    }
}

static void
act(int number)
{
    switch (number) {
    case SIGTERM:
        ask_to_stop(number);
        break;
    case SIGUSR1:
        if (usr1_reopens) {
            atomic_fetch_add(&reopens, 1);
        }
        else {
            ask_to_stop(number);
        }
        break;
    case SIGINT:
    case SIGQUIT:
        note_stop(number);
        atomic_store(&stop, STOP_NOW);
        break;
    case SIGHUP:
        atomic_fetch_add(&reloads, 1);
        break;
    case SIGUSR2:
        atomic_fetch_add(&dumps, 1);
        break;
    case SIGTTIN:
        atomic_fetch_add(&more, 1);
        break;
    case SIGTTOU:
        atomic_fetch_add(&less, 1);
        break;
    default: /* CHLD: the caller of signals_wait() calls waitpid() */
        break;
    }
    signals_wake();
}

static void
on_signal(int number, UNUSED siginfo_t *info, void *context)
{
    if (atomic_load(&is_held)) {
        pass_on(number, context);
    }
    else {
        act(number);
    }
}

static void
set_default(int number)
{
    struct sigaction sa = {.sa_handler = SIG_DFL};

    (void)sigaction(number, &sa, NULL);
}

/* Only if it is ours: the application may have installed its own. */
static void
reset_ours(int number)
{
    struct sigaction sa;

    if (sigaction(number, NULL, &sa) == 0 && sa.sa_sigaction == on_signal) {
        set_default(number);
    }
}

void
signals_close(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        reset_ours(numbers[i]);
    }
    handlers_set = false;
    fd_close(&wake_fd);
}

static int
set_handler(int number)
{
    /* SA_RESTART: no system call of the application must fail because of us. */
    struct sigaction sa = {.sa_sigaction = on_signal,
                           .sa_flags = SA_RESTART | SA_SIGINFO};

    return sigaction(number, &sa, NULL) < 0 ? -errno : 0;
}

static int
set_handlers(bool with_children)
{
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        if (numbers[i] == SIGCHLD && !with_children) {
            continue; /* it belongs to the application */
        }
        int e = set_handler(numbers[i]);
        if (e < 0) {
            return e;
        }
    }
    handlers_set = true;
    return 0;
}

int
signals_open(bool with_children)
{
    int e;

    if (wake_fd >= 0) {
        return 0; /* open since the sockets were made */
    }
    atomic_store(&stop, STOP_NONE);
    atomic_store(&stop_number, 0);
    atomic_store(&reloads, 0);
    atomic_store(&reopens, 0);
    atomic_store(&dumps, 0);
    atomic_store(&more, 0);
    atomic_store(&less, 0);
    wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd < 0) {
        return -errno;
    }
    /* A worker has inherited them, or those that the application installed when
     * it was imported before the fork. */
    if (!handlers_set && (e = set_handlers(with_children)) < 0) {
        return e;
    }
    signals_release();
    return 0;
}

/* -- for Python ------------------------------------------------------------ */

/* A client that closes the connection, a full disk: errors of one request. */
static const int ignored[] = {SIGPIPE, SIGXFSZ};

static bool
is_ignored(int number)
{
    for (size_t i = 0; i < ARRAY_SIZE(ignored); i++) {
        if (ignored[i] == number) {
            return true;
        }
    }
    return false;
}

/* In a child process of the application this restores the default handlers. */
static void
restore(int number)
{
    struct sigaction sa = {.sa_handler = SIG_IGN};

    if (!handlers_set) {
        set_default(number);
    }
    else if (is_ignored(number)) {
        (void)sigaction(number, &sa, NULL);
    }
    else if (set_handler(number) < 0) {
        /* It cannot fail for a number that has been set before. */
    }
}

static void
act_for_python(int number)
{
    if (handlers_set) {
        act(number);
        return;
    }
    set_default(number);
    (void)raise(number);
}

const struct python_signals *
signals_own(void)
{
    /* Without SIGCHLD, the last: only a master uses it, which has no Python. */
    static const struct python_signals own = {.numbers = numbers,
                                              .n = ARRAY_SIZE(numbers) - 1,
                                              .ignored = ignored,
                                              .nignored = ARRAY_SIZE(ignored),
                                              .handle = act_for_python,
                                              .restore = restore};

    return &own;
}

struct signals
signals_get(void)
{
    return (struct signals){
        .stop = (enum signals_stop)atomic_load(&stop),
        .stop_number = atomic_load(&stop_number),
        .reloads = atomic_load(&reloads),
        .reopens = atomic_load(&reopens),
        .dumps = atomic_load(&dumps),
        .more = atomic_load(&more),
        .less = atomic_load(&less),
    };
}

bool
signals_wait(int timeout_ms, int fd, int second_fd)
{
    struct pollfd p[3] = {{.fd = wake_fd, .events = POLLIN},
                          {.fd = fd, .events = POLLIN},
                          {.fd = second_fd, .events = POLLIN}};
    uint64_t count;

    if (poll(p, ARRAY_SIZE(p), timeout_ms) <= 0) {
        return false;
    }
    if (p[0].revents != 0 && read(wake_fd, &count, sizeof count) < 0) {
        /* Another wake-up has read it: the counts are what matters. */
    }
    return p[0].revents != 0 || p[1].revents != 0;
}

int
signals_keep_wake_fd(void)
{
    int fd = wake_fd;

    assert(fd >= 0); /* the master has opened its signals */
    atomic_store(&is_patient, true);
    reset_ours(SIGCHLD); /* a worker has no children of our own */
    wake_fd = -1;
    return fd;
}
