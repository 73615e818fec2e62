/*
 * thread_stack.c - asks a thread for its Python stack, with a signal
 */
#include "debug/thread_stack.h"

#include "debug/own_stack.h"
#include "os/fd.h"
#include "python/python.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static struct {
    /* thread_stack_open() writes these, before a thread is asked. */
    bool is_own; /* own_stack.h writes; else the handler of faulthandler */
    void (*write_stack)(int number); /* that handler; NULL: not available */
    int fd;                          /* a memory file for the stack */
    /* The tid of the thread that has to write; negative while it writes. */
    atomic_int asked;
    sem_t answered;
    /* The thread that is asked writes these before answered. */
    pthread_t by;
    char text[64 << 10]; /* usually more than 100 lines */
} self_dump = {.fd = -1};

static void
on_signal(int number)
{
    int saved = errno, tid = gettid(), asked = tid;

    if (atomic_compare_exchange_strong(&self_dump.asked, &asked, -tid)) {
        if (self_dump.is_own) {
            own_stack_write(self_dump.text, sizeof self_dump.text);
        }
        else {
            self_dump.write_stack(number);
        }
        self_dump.by = pthread_self();
        (void)sem_post(&self_dump.answered);
    }
    errno = saved;
}

static int
install(void)
{
    struct sigaction sa = {.sa_handler = on_signal,
                           .sa_flags = SA_RESTART | SA_ONSTACK};

    return sigaction(STACK_DUMP_SIGNAL, &sa, NULL);
}

/* faulthandler has the handler that writes the stack of the thread that it runs
 * in. Ours calls it. */
static int
find_faulthandler(void)
{
    CLEANUP(py_clear)
    PyObject *faulthandler = PyImport_ImportModule("faulthandler");
    struct sigaction sa;

    if (faulthandler == NULL) {
        return -1;
    }
    CLEANUP(py_clear)
    PyObject *r = PyObject_CallMethod(faulthandler, "register", "iiii",
                                      STACK_DUMP_SIGNAL, self_dump.fd, 0, 0);
    if (r == NULL) {
        return -1;
    }
    if (self_dump.write_stack == NULL) { /* else we are a forked process */
        if (sigaction(STACK_DUMP_SIGNAL, NULL, &sa) < 0 ||
            (sa.sa_flags & SA_SIGINFO) != 0) {
            return -1;
        }
        self_dump.write_stack = sa.sa_handler;
    }
    return 0;
}

void
thread_stack_open(void)
{
    ASSERT_ATTACHED();
    fd_close(&self_dump.fd);
    self_dump.fd = memfd_create("stacks", MFD_CLOEXEC);
    self_dump.is_own = self_dump.fd >= 0 && own_stack_open(self_dump.fd);
    atomic_store(&self_dump.asked, 0);
    if (self_dump.fd < 0 || sem_init(&self_dump.answered, 0, 0) < 0 ||
        (!self_dump.is_own && find_faulthandler() < 0) || install() < 0) {
        self_dump.write_stack = NULL;
        fd_close(&self_dump.fd);
        PyErr_Clear();
    }
}

bool
thread_stack_is_open(void)
{
    struct sigaction sa;

    return self_dump.fd >= 0 && sigaction(STACK_DUMP_SIGNAL, NULL, &sa) == 0 &&
           sa.sa_handler == on_signal;
}

/* Threads of ours block all signals; there is nothing to wait for. */
static bool
is_blocked(pid_t tid)
{
    char path[64], line[256];
    uint64_t blocked = 0;

    (void)snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)tid);
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL &&
           sscanf(line, "SigBlk: %" SCNx64, &blocked) != 1) {
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return (blocked >> (STACK_DUMP_SIGNAL - 1) & 1) != 0;
}

static bool
wait_for_answer(int wait_ms)
{
    struct timespec end;
    int r;

    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += wait_ms % 1000 * 1000000L;
    end.tv_sec += wait_ms / 1000 + end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    do {
        r = sem_clockwait(&self_dump.answered, CLOCK_MONOTONIC, &end);
    } while (r < 0 && errno == EINTR);
    return r == 0;
}

/* The text of faulthandler without its title, which is the first line. */
static void
read_answer(void)
{
    ssize_t n =
        pread(self_dump.fd, self_dump.text, sizeof self_dump.text - 1, 0);

    assert(n < (ssize_t)sizeof self_dump.text);
    self_dump.text[n > 0 ? n : 0] = '\0';
    const char *frames = strstr(self_dump.text, "  File ");
    const char *from =
        frames == NULL ? "" : strchrnul(self_dump.text, '\n') + 1;
    memmove(self_dump.text, from, strlen(from) + 1);
}

const char *
thread_stack_ask(pid_t tid, int wait_ms, pthread_t *ret_id)
{
    int asked = tid;

    assert(tid != gettid() && atomic_load(&self_dump.asked) == 0);
    if (is_blocked(tid) || ftruncate(self_dump.fd, 0) < 0 ||
        lseek(self_dump.fd, 0, SEEK_SET) < 0) {
        return NULL;
    }
    atomic_store(&self_dump.asked, tid);
    bool answered = tgkill(getpid(), tid, STACK_DUMP_SIGNAL) == 0 &&
                    wait_for_answer(wait_ms);
    if (!answered &&
        !atomic_compare_exchange_strong(&self_dump.asked, &asked, 0)) {
        /* It writes now, which does not take long. */
        while (sem_wait(&self_dump.answered) < 0 && errno == EINTR) {
        }
        answered = true;
    }
    atomic_store(&self_dump.asked, 0);
    if (!answered) {
        return NULL;
    }
    if (!self_dump.is_own) {
        read_answer();
    }
    *ret_id = self_dump.by;
    return self_dump.text;
}
