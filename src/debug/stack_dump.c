/*
 * stack_dump.c - writes the Python stacks of threads to the log
 */
#include "debug/stack_dump.h"

#include "base/buf.h"
#include "gateway/request_id.h"
#include "os/fd.h"
#include "python/gil_task.h"
#include "python/python.h"
#include "text/num.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    TEXT_MAX = 1 << 20, /* of a dump */
    FRAMES_MAX = 100,   /* of a stack, the most recent ones, as faulthandler */
    LINE_TEXT = 1024,   /* a line at the top, or a name */
    GIL_WAIT_MS = 1000, /* then each thread writes its own stack */
    GIL_TASK_MAX_MS = 5000, /* then the task hangs (in some __del__) */
    ANSWER_WAIT_MS = 100    /* for one thread to write its stack */
};

struct name {
    pthread_t id;
    pid_t tid;
    char text[LINE_TEXT];
};

/* The present dump. Its thread writes all fields, or the GIL task while that
 * runs. */
static struct {
    enum log_level level;
    bool all;
    int fd;                      /* -1 = the log */
    char id[REQUEST_ID_MAX + 1]; /* of the request, if there is only one */
    unsigned nids;
    struct buf text;                                      /* the lines */
    void (*copy)(void *arg, const char *lines, size_t n); /* or NULL */
    void *copy_arg;
    struct name *names;
    size_t n;
    bool begun;
    int64_t since_ms;
    struct gil_task task;
} dump = {.text = {.max = TEXT_MAX}};

static atomic_bool is_open;

static void
add_line(const char *text)
{
    size_t before = dump.text.len;

    if (buf_add_str(&dump.text, text) < 0 || buf_add(&dump.text, "\n", 1) < 0) {
        dump.text.len = before; /* no memory: the line is missing */
    }
}

static const struct name *
find_name(pthread_t id)
{
    for (size_t i = 0; i < dump.n; i++) {
        if (pthread_equal(dump.names[i].id, id)) {
            return &dump.names[i];
        }
    }
    return NULL;
}

/* -- with the GIL ---------------------------------------------------------- */

static PyObject *
frame_text(PyFrameObject *frame)
{
    CLEANUP(py_clear) PyObject *code = (PyObject *)PyFrame_GetCode(frame);
    CLEANUP(py_clear)
    PyObject *file = PyObject_GetAttrString(code, "co_filename");
    CLEANUP(py_clear)
    PyObject *function = PyObject_GetAttrString(
        code, PY_VERSION_HEX >= 0x030B0000 ? "co_qualname" : "co_name");
    if (file == NULL || function == NULL) {
        return NULL;
    }
    CLEANUP(py_clear)
    PyObject *text =
        PyUnicode_FromFormat("  File \"%S\", line %d, in %S", file,
                             PyFrame_GetLineNumber(frame), function);
    return text == NULL
               ? NULL
               : PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
}

static void
add_frames(PyObject *top)
{
    PyObject *frame = Py_NewRef(top);

    for (int i = 0; frame != NULL; i++) {
        CLEANUP(py_clear) PyObject *text = NULL;
        if (i < FRAMES_MAX) {
            text = frame_text((PyFrameObject *)frame);
        }
        PyErr_Clear();
        add_line(text != NULL ? PyBytes_AS_STRING(text) : "  ...");
        Py_SETREF(frame, i == FRAMES_MAX ? NULL
                                         : (PyObject *)PyFrame_GetBack(
                                               (PyFrameObject *)frame));
    }
}

/* The name of the thread in the module threading, or NULL. Does not take the
 * lock of that module: the thread that holds it may be one that we show. */
static PyObject *
thread_name(PyObject *ident)
{
    PyObject *threading =
        PyDict_GetItemString(PyImport_GetModuleDict(), "threading");
    if (threading == NULL) {
        return NULL;
    }
    CLEANUP(py_clear)
    PyObject *active = PyObject_GetAttrString(threading, "_active");
    if (active == NULL || !PyDict_Check(active)) {
        return NULL;
    }
    PyObject *thread = PyDict_GetItemWithError(active, ident);
    return thread == NULL ? NULL : PyObject_GetAttrString(thread, "_name");
}

static void
add_title(PyObject *ident)
{
    char title[LINE_TEXT];
    CLEANUP(py_clear) PyObject *name = thread_name(ident);
    const char *text =
        name != NULL && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;

    PyErr_Clear();
    if (text != NULL) {
        (void)snprintf(title, sizeof title,
                       "thread \"%s\" of the application:", text);
    }
    else {
        (void)snprintf(title, sizeof title, "thread %lu of the application:",
                       PyLong_AsUnsignedLongMask(ident));
    }
    add_line(title);
}

static void
add_named(PyObject *frames)
{
    for (size_t i = 0; i < dump.n; i++) {
        CLEANUP(py_clear)
        PyObject *ident = PyLong_FromUnsignedLong(dump.names[i].id);
        PyObject *frame =
            ident == NULL ? NULL : PyDict_GetItemWithError(frames, ident);
        add_line(dump.names[i].text);
        if (frame != NULL) {
            add_frames(frame);
        }
        else {
            add_line("  (not in Python code)");
        }
    }
}

static void
add_others(PyObject *frames)
{
    PyObject *ident, *frame;
    Py_ssize_t at = 0;

    while (PyDict_Next(frames, &at, &ident, &frame)) {
        if (PyFrame_Check(frame) &&
            find_name(PyLong_AsUnsignedLongMask(ident)) == NULL) {
            add_title(ident);
            add_frames(frame);
        }
    }
}

/* A file of its own has the time in each line, whatever the log has. */
static enum log_form
form(void)
{
    return dump.fd >= 0 && log_own_form() == LOG_PLAIN ? LOG_STAMPED
                                                       : log_own_form();
}

static void
write_out(const char *bytes, size_t n)
{
    if (dump.fd >= 0) {
        log_write(dump.fd, bytes, n);
    }
    else {
        log_raw(bytes, n);
    }
}

/* Writes whole lines, as many as a pipe takes at once: the watchdog must not
 * wait for the reader of the log. */
static void
log_pieces(const char *rest, size_t left)
{
    while (left > 0) {
        size_t n = left < PIPE_BUF ? left : PIPE_BUF;
        const char *end = memrchr(rest, '\n', n);
        n = end != NULL ? (size_t)(end - rest) + 1 : n;
        write_out(rest, n);
        rest += n;
        left -= n;
    }
}

/* In a text log, each line has our prefix. */
static void
format_lines(struct buf *out, enum log_form form, char *lines)
{
    struct log_entry e = {.level = dump.level};
    int r = 0;

    while (r == 0 && *lines != '\0') {
        char *end = strchrnul(lines, '\n');
        char last = *end;
        *end = '\0';
        e.text = lines;
        r = log_format(out, form, &e);
        *end = last;
        lines = end + (last == '\n');
    }
}

static void
copy_lines(char *lines)
{
    struct buf out;

    buf_init(&out, LOG_LINE_MAX);
    format_lines(&out, LOG_PLAIN, lines);
    dump.copy(dump.copy_arg, out.data, out.len);
    buf_fini(&out);
}

static void
log_lines(char *lines)
{
    struct buf out;

    buf_init(&out, LOG_LINE_MAX);
    format_lines(&out, form(), lines);
    log_pieces(out.data, out.len);
    buf_fini(&out);
}

/* In a JSON log, the dump is one object: the first line and the lines below
 * it. */
static void
log_object(char *lines)
{
    struct log_entry e = {.level = dump.level,
                          .id = dump.nids == 1 ? dump.id : NULL,
                          .text = strsep(&lines, "\n"),
                          .more = lines,
                          .more_len = strlen(lines)};
    struct buf out;

    buf_init(&out, LOG_LINE_MAX);
    if (log_format(&out, LOG_JSON, &e) == 0) {
        write_out(out.data, out.len);
    }
    buf_fini(&out);
}

static void
log_text(void)
{
    if (dump.text.len == 0 || buf_add(&dump.text, "", 1) < 0) {
        return;
    }
    if (dump.copy != NULL) {
        copy_lines(dump.text.data);
    }
    if (form() == LOG_JSON) {
        log_object(dump.text.data);
    }
    else {
        log_lines(dump.text.data);
    }
}

static void
with_gil(void)
{
    PyObject *get = PySys_GetObject("_current_frames"); /* borrowed */
    CLEANUP(py_clear)
    PyObject *frames = get == NULL ? NULL : PyObject_CallNoArgs(get);

    if (frames != NULL && PyDict_Check(frames)) {
        add_named(frames);
        if (dump.all) {
            add_others(frames);
        }
    }
    PyErr_Clear();
    Py_BEGIN_ALLOW_THREADS log_text();
    Py_END_ALLOW_THREADS
}

/* -- without it ------------------------------------------------------------ */

/* The handler of faulthandler writes the stack of the thread that it runs in.
 * Our handler calls it. */
static struct {
    void (*write_stack)(int number); /* NULL: not available */
    int fd;                          /* a memory file for the stack */
    atomic_int asked;                /* tid of the thread that has to write */
    _Atomic pthread_t by;            /* the thread that has written */
    sem_t answered;
} self_dump = {.fd = -1};

static void
on_signal(int number)
{
    int saved = errno;

    if (atomic_load(&self_dump.asked) == gettid()) {
        self_dump.write_stack(number);
        atomic_store(&self_dump.by, pthread_self());
        (void)sem_post(&self_dump.answered);
    }
    errno = saved;
}

static int
install(void)
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
    sa = (struct sigaction){.sa_handler = on_signal,
                            .sa_flags = SA_RESTART | SA_ONSTACK};
    return sigaction(STACK_DUMP_SIGNAL, &sa, NULL);
}

/* False: the application has its own handler for the signal. */
static bool
is_installed(void)
{
    struct sigaction sa;

    return self_dump.write_stack != NULL &&
           sigaction(STACK_DUMP_SIGNAL, NULL, &sa) == 0 &&
           sa.sa_handler == on_signal;
}

/* Adds the stack that faulthandler has written, with our title in place of its
 * own, which is the first line. */
static void
add_answer(const char *title)
{
    static char text[64 << 10]; /* usually more than FRAMES_MAX lines */
    ssize_t n = pread(self_dump.fd, text, sizeof text - 1, 0);

    assert(n < (ssize_t)sizeof text);
    text[n > 0 ? n : 0] = '\0';
    if (strstr(text, "  File ") == NULL) {
        return; /* no Python code runs in it, or it is idle */
    }
    add_line(title);
    char *rest = text;
    (void)strsep(&rest, "\n");
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (line[0] != '\0') {
            add_line(line);
        }
    }
}

static void
ask(pid_t tid)
{
    struct timespec end;

    if (ftruncate(self_dump.fd, 0) < 0 ||
        lseek(self_dump.fd, 0, SEEK_SET) < 0) {
        return;
    }
    assert(atomic_load(&self_dump.asked) == 0); /* one thread at a time */
    atomic_store(&self_dump.asked, tid);
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += ANSWER_WAIT_MS * 1000000L;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    if (tgkill(getpid(), tid, STACK_DUMP_SIGNAL) == 0 &&
        sem_clockwait(&self_dump.answered, CLOCK_MONOTONIC, &end) == 0) {
        pthread_t by = atomic_load(&self_dump.by);
        const struct name *name = find_name(by);
        char other[64];
        (void)snprintf(other, sizeof other,
                       "thread %lu of the application:", by);
        add_answer(name != NULL ? name->text : other);
    }
    atomic_store(&self_dump.asked, 0);
    while (sem_trywait(&self_dump.answered) == 0) {
        /* A late answer to an earlier question. */
    }
}

static void
ask_all(void)
{
    DIR *tasks = opendir("/proc/self/task");

    for (const struct dirent *d;
         tasks != NULL && (d = readdir(tasks)) != NULL;) {
        uint64_t tid;
        if (num_parse(d->d_name, strlen(d->d_name), INT32_MAX, &tid) == 0 &&
            (pid_t)tid != gettid()) {
            ask((pid_t)tid);
        }
    }
    if (tasks != NULL) {
        (void)closedir(tasks);
    }
}

static void
without_gil(void)
{
    add_line("(Python is busy in a C function; each thread shows its own)");
    if (!is_installed()) {
        add_line("(and cannot be asked)");
    }
    else if (dump.all) {
        ask_all();
    }
    else {
        for (size_t i = 0; i < dump.n; i++) {
            ask(dump.names[i].tid);
        }
    }
    log_text();
}

/* -- both ------------------------------------------------------------------ */

void
stack_dump_open(void)
{
    PyGILState_STATE gil = PyGILState_Ensure();

    fd_close(&self_dump.fd);
    self_dump.fd = memfd_create("stacks", MFD_CLOEXEC);
    if (self_dump.fd < 0 || sem_init(&self_dump.answered, 0, 0) < 0 ||
        install() < 0) {
        self_dump.write_stack = NULL;
        fd_close(&self_dump.fd);
        PyErr_Clear();
    }
    PyGILState_Release(gil);
    atomic_store(&is_open, true);
}

bool
stack_dump_prepare(enum log_level level, bool all, int fd)
{
    if (!atomic_load(&is_open) || dump.begun ||
        gil_task_state(&dump.task) == GIL_TASK_RUNNING) {
        return false;
    }
    dump.level = level;
    dump.all = all;
    dump.fd = fd;
    dump.text.len = 0;
    dump.n = 0;
    dump.nids = 0;
    dump.copy = NULL;
    return true;
}

void
stack_dump_copy_to(void (*fn)(void *arg, const char *lines, size_t n),
                   void *arg)
{
    dump.copy = fn;
    dump.copy_arg = arg;
}

void
stack_dump_say(const char *id, const char *fmt, ...)
{
    char text[LINE_TEXT];
    size_t n = 0;
    va_list ap;

    if (id[0] != '\0') {
        dump.nids++;
        (void)snprintf(dump.id, sizeof dump.id, "%s", id);
        n = (size_t)snprintf(text, sizeof text, "[%s] ", id);
    }
    va_start(ap, fmt);
    (void)vsnprintf(text + n, sizeof text - n, fmt, ap);
    va_end(ap);
    add_line(text);
}

void
stack_dump_name(pthread_t id, pid_t tid, const char *fmt, ...)
{
    struct name *grown =
        reallocarray(dump.names, dump.n + 1, sizeof *dump.names);
    va_list ap;

    if (grown == NULL) {
        return; /* it will appear as a thread of the application */
    }
    dump.names = grown;
    struct name *name = &grown[dump.n++];
    *name = (struct name){.id = id, .tid = tid};
    va_start(ap, fmt);
    (void)vsnprintf(name->text, sizeof name->text, fmt, ap);
    va_end(ap);
}

void
stack_dump_begin(int64_t now_ms)
{
    assert(!dump.begun); /* stack_dump_prepare() was called */
    dump.begun = true;
    dump.since_ms = now_ms;
    if (gil_task_begin(&dump.task, with_gil) < 0) {
        /* An earlier task still waits for the GIL. */
        without_gil();
        dump.begun = false;
    }
}

static bool
has_ended(int64_t now_ms)
{
    switch (gil_task_state(&dump.task)) {
    case GIL_TASK_WAITING:
        if (now_ms - dump.since_ms < GIL_WAIT_MS ||
            !gil_task_cancel(&dump.task)) {
            return false;
        }
        without_gil();
        return true;
    case GIL_TASK_RUNNING:
        return now_ms - dump.since_ms >= GIL_TASK_MAX_MS;
    case GIL_TASK_IDLE:
    case GIL_TASK_CANCELLED:
        break;
    }
    return true;
}

bool
stack_dump_work(int64_t now_ms)
{
    if (dump.begun && has_ended(now_ms)) {
        dump.begun = false;
    }
    return !dump.begun;
}
