#include "proc/signals.h"

#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

static atomic_int asked; /* enum signals_stop */
static int wake_fd = -1;

void
signals_init(void)
{
    struct sigaction sa = {.sa_handler = SIG_IGN};
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)sigaction(SIGPIPE, &sa, NULL);
    sa.sa_handler = SIG_DFL;
    (void)sigaction(SIGXFSZ, &sa, NULL);
    (void)sigaction(SIGCHLD, &sa, NULL);
}

void
signals_wake(void)
{
    const uint64_t one = 1;
    int saved = errno;

    if (write(wake_fd, &one, sizeof one) < 0) {
        /* Full: it is readable already. */
    }
    errno = saved;
}

static void
on_signal(int number)
{
    int now = atomic_load(&asked);

    if (number == SIGINT || number == SIGQUIT || now != STOP_NONE) {
        atomic_store(&asked, STOP_NOW);
    }
    else {
        atomic_store(&asked, STOP_GRACEFUL);
    }
    signals_wake();
}

static const int numbers[] = {SIGTERM, SIGUSR1, SIGHUP, SIGINT, SIGQUIT};

void
signals_close(void)
{
    for (size_t i = 0; wake_fd >= 0 && i < ARRAY_SIZE(numbers); i++) {
        struct sigaction sa;
        /* An application may have put its own in place of ours. */
        if (sigaction(numbers[i], NULL, &sa) == 0 &&
            sa.sa_handler == on_signal) {
            sa.sa_handler = SIG_DFL;
            (void)sigaction(numbers[i], &sa, NULL);
        }
    }
    fd_close(&wake_fd);
}

int
signals_open(void)
{
    /* SA_RESTART: system calls of the application are not to fail by it. */
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd < 0) {
        return -errno;
    }
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        if (sigaction(numbers[i], &sa, NULL) < 0) {
            return -errno;
        }
    }
    return 0;
}

enum signals_stop
signals_asked(void)
{
    return (enum signals_stop)atomic_load(&asked);
}

enum signals_stop
signals_wait(int timeout_ms)
{
    struct pollfd p = {.fd = wake_fd, .events = POLLIN};
    uint64_t count;

    if (poll(&p, 1, timeout_ms) > 0 &&
        read(wake_fd, &count, sizeof count) < 0) {
        /* Another wake-up has taken it: asked says what matters. */
    }
    return signals_asked();
}
