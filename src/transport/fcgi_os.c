#include "transport/fcgi_os.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcgiapp.h>
#include <fcgios.h>
#include <setjmp.h>
#include <string.h>

/* OS_* get only a descriptor: each thread has one connection. */
static _Thread_local fcgi_feed_fn current_feed;
static _Thread_local void *current_arg;

void
fcgi_os_attach(fcgi_feed_fn feed, void *arg)
{
    current_feed = feed;
    current_arg = arg;
}

int
OS_LibInit(int fds[3] UNUSED)
{
    return 0; /* no signal handlers */
}

int
OS_CreateLocalIpcFd(const char *path UNUSED, int backlog UNUSED)
{
    errno = ENOSYS;
    return -1;
}

int
OS_Accept(int sock UNUSED, int fail_on_intr UNUSED, const char *addrs UNUSED)
{
    errno = EBADF;
    return -1;
}

int
OS_IsFcgi(int sock UNUSED)
{
    return 1; /* main.c has decided */
}

int
OS_Read(int fd UNUSED, char *buf, size_t len)
{
    if (current_feed == NULL) {
        errno = EBADF;
        return -1;
    }
    return (int)current_feed(current_arg, buf, len);
}

int
OS_Write(int fd UNUSED, char *buf UNUSED, size_t len UNUSED)
{
    errno = EPIPE; /* responses are written by transport/fcgi */
    return -1;
}

int
OS_IpcClose(int fd UNUSED, int shutdown UNUSED)
{
    return 0; /* the descriptor is ours */
}

void
OS_ShutdownPending(void)
{
}

/* -- out of memory -------------------------------------------------------- */

/* Where to go when this thread's call of libfcgi fails an assertion. */
static _Thread_local jmp_buf *way_out;

typedef void assert_fail_fn(const char *what, const char *file, unsigned line,
                            const char *function);

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
assert_fail_fn __assert_fail;

/* libfcgi asserts that malloc() succeeds. The C library's function ends the
 * process then, and with it the other threads' requests. This one takes its
 * place, for the archive as well as for the shared library. */
void
__assert_fail(const char *what, const char *file, unsigned line,
              const char *function)
{
    if (way_out != NULL) {
        longjmp(*way_out, 1);
    }
    assert_fail_fn *theirs =
        (assert_fail_fn *)dlsym(RTLD_NEXT, "__assert_fail");
    if (theirs != NULL) {
        theirs(what, file, line, function);
    }
    __builtin_trap(); /* no C library has it: cannot be */
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

/* A failure leaks about 200 bytes: the parts of a stream that was not complete
 * yet. libfcgi holds no lock, and its other state is the request's. */
int
fcgi_os_accept(struct FCGX_Request *fx)
{
    jmp_buf here;

    if (setjmp(here) != 0) {
        way_out = NULL;
        FCGX_Free(fx, 0);
        return -ENOMEM;
    }
    way_out = &here;
    int r = FCGX_Accept_r(fx);
    way_out = NULL;
    return r < 0 ? -EPROTO : 0;
}

/* -- the self-test -------------------------------------------------------- */

struct canned {
    const char *p;
    size_t left;
};

static ssize_t
canned_feed(void *arg, char *to, size_t size)
{
    struct canned *c = arg;

    if (size > c->left) {
        size = c->left;
    }
    memcpy(to, c->p, size);
    c->p += size;
    c->left -= size;
    return (ssize_t)size;
}

int
fcgi_os_start(void)
{
    static const char head[] = "\1\1\0\1\0\10\0\0\0\1\0\0\0\0\0\0" /* BEGIN */
                               "\1\4\0\1\0\4\0\0\1\1AB"            /* A=B */
                               "\1\4\0\1\0\0\0\0"                  /* end */
                               "\1\5\0\1\0\2\0\0ok"                /* STDIN */
                               "\1\5\0\1\0\0\0\0";
    struct canned canned = {head, sizeof head - 1};
    FCGX_Request fx;
    char body[4] = "";
    int e, ok;

    if (FCGX_Init() != 0) {
        return -ENOSYS;
    }
    FCGX_InitRequest(&fx, -1, 0);
    /* A number that is no open descriptor: libfcgi's own layer would fail. */
    fx.ipcFd = 1 << 30;
    fx.keepConnection = 1;
    fcgi_os_attach(canned_feed, &canned);
    e = fcgi_os_accept(&fx);
    ok = e == 0;
    if (ok) {
        const char *value = FCGX_GetParam("A", fx.envp);
        ok = value != NULL && strcmp(value, "B") == 0 &&
             FCGX_GetStr(body, 3, fx.in) == 2 && strcmp(body, "ok") == 0 &&
             FCGX_GetError(fx.in) == 0;
        FCGX_Free(&fx, 0);
    }
    fcgi_os_attach(NULL, NULL);
    return ok ? 0 : e == -ENOMEM ? e : -ENOSYS;
}
