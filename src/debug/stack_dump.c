/*
 * stack_dump.c - writes the Python stacks of threads to the log
 */
#include "debug/stack_dump.h"

#include "base/buf.h"
#include "base/clock.h"
#include "debug/thread_stack.h"
#include "gateway/request_id.h"
#include "python/gil_task.h"
#include "python/python.h"
#include "text/num.h"

#include <assert.h>
#include <dirent.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TEXT_MAX = 1 << 20, /* of a dump */
    FRAMES_MAX = 100,   /* of a stack, the most recent ones, as faulthandler */
    LINE_TEXT = 1024,   /* a line at the top, or a name */
    GIL_WAIT_MS = 1000, /* then each thread writes its own stack */
    GIL_TASK_MAX_MS = 5000, /* then the task hangs (in some __del__) */
    ANSWER_WAIT_MS = 100,   /* for one thread to write its stack ... */
    ANSWERS_WAIT_MS = 1000  /* without a GIL, where that is the usual way: for
                             * all of them, and at least the above for each */
};

#ifdef Py_GIL_DISABLED
enum { HAS_NO_GIL = 1 };
#else
enum { HAS_NO_GIL = 0 };
#endif

struct name {
    pthread_t id;
    pid_t tid;
    char text[LINE_TEXT];
};

/* A thread that the module threading knows. */
struct python_thread {
    pthread_t id;
    char name[128];
};

/* The present dump. Its thread writes all fields, or the GIL task while that
 * runs: the state of the task says which, also without a GIL. */
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
    bool has_names; /* those of threads: the task has ended */
    int64_t since_ms;
    int64_t asked_ms; /* when the first thread was asked */
    /* The GIL task. */
    struct python_thread *threads;
    size_t nthreads;
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

/* -- names of threads ------------------------------------------------------ */

/* Takes the names from a copy, since threads come and go meanwhile. Does not
 * take the lock of the module threading: the thread that holds it may be one
 * that we show. */
static void
copy_names(PyObject *active)
{
    CLEANUP(py_clear) PyObject *copy = PyDict_Copy(active);
    PyObject *ident, *thread;
    Py_ssize_t at = 0;

    dump.threads = copy == NULL ? NULL
                                : calloc((size_t)PyDict_Size(copy) + 1,
                                         sizeof *dump.threads);
    while (dump.threads != NULL && PyDict_Next(copy, &at, &ident, &thread)) {
        struct python_thread *to = &dump.threads[dump.nthreads];
        CLEANUP(py_clear)
        PyObject *name = PyObject_GetAttrString(thread, "_name");
        const char *text = name != NULL && PyUnicode_Check(name)
                               ? PyUnicode_AsUTF8(name)
                               : NULL;
        to->id = PyLong_AsUnsignedLongMask(ident);
        PyErr_Clear();
        if (text != NULL) {
            (void)snprintf(to->name, sizeof to->name, "%s", text);
            dump.nthreads++;
        }
    }
}

/* Notes the names that the module threading has. */
static void
take_names(void)
{
    CLEANUP(py_clear) PyObject *threading = NULL;
    CLEANUP(py_clear) PyObject *active = NULL;

    free(dump.threads);
    dump.threads = NULL;
    dump.nthreads = 0;
    if (PyDict_GetItemStringRef(PyImport_GetModuleDict(), "threading",
                                &threading) > 0) {
        active = PyObject_GetAttrString(threading, "_active");
    }
    if (active != NULL && PyDict_Check(active)) {
        copy_names(active);
    }
    PyErr_Clear();
}

/* Of a thread that is none of ours. */
static const char *
title_of(pthread_t id, char to[LINE_TEXT])
{
    (void)snprintf(to, LINE_TEXT, "thread %lu of the application:", id);
    for (size_t i = 0; dump.has_names && i < dump.nthreads; i++) {
        if (pthread_equal(dump.threads[i].id, id)) {
            (void)snprintf(to, LINE_TEXT, "thread \"%s\" of the application:",
                           dump.threads[i].name);
        }
    }
    return to;
}

/* -- the log --------------------------------------------------------------- */

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

/* -- each thread writes its own -------------------------------------------- */

static int
answer_wait_ms(void)
{
    int64_t left =
        HAS_NO_GIL ? dump.asked_ms + ANSWERS_WAIT_MS - clock_ms() : 0;

    return left > ANSWER_WAIT_MS ? (int)left : ANSWER_WAIT_MS;
}

/* False: nothing has been added for the thread. */
static bool
add_stack(const char *title, const char *lines)
{
    if (lines == NULL || lines[0] == '\0') {
        return false;
    }
    add_line(title);
    if (buf_add_str(&dump.text, lines) < 0) {
        add_line("  (no memory for it)");
    }
    return true;
}

static void
ask_named(const struct name *name)
{
    pthread_t id;
    const char *lines = thread_stack_ask(name->tid, answer_wait_ms(), &id);

    if (!add_stack(name->text, lines) && HAS_NO_GIL) {
        add_line(name->text);
        add_line(lines == NULL ? "  (does not answer)"
                               : "  (not in Python code)");
    }
}

static void
ask_other(pid_t tid)
{
    pthread_t id;
    char title[LINE_TEXT];
    const char *lines = thread_stack_ask(tid, answer_wait_ms(), &id);

    if (lines != NULL) {
        (void)add_stack(title_of(id, title), lines);
    }
}

static bool
is_named(pid_t tid)
{
    for (size_t i = 0; i < dump.n; i++) {
        if (dump.names[i].tid == tid) {
            return true;
        }
    }
    return false;
}

static void
ask_others(void)
{
    DIR *tasks = opendir("/proc/self/task");

    for (const struct dirent *d;
         tasks != NULL && (d = readdir(tasks)) != NULL;) {
        uint64_t tid;
        if (num_parse(d->d_name, strlen(d->d_name), INT32_MAX, &tid) == 0 &&
            (pid_t)tid != gettid() && !is_named((pid_t)tid)) {
            ask_other((pid_t)tid);
        }
    }
    if (tasks != NULL) {
        (void)closedir(tasks);
    }
}

/* why: for the log, or NULL. */
static void
ask_all(const char *why)
{
    dump.asked_ms = clock_ms();
    if (why != NULL) {
        add_line(why);
    }
    if (!thread_stack_is_open()) {
        add_line("(and cannot be asked)");
    }
    else {
        for (size_t i = 0; i < dump.n; i++) {
            ask_named(&dump.names[i]);
        }
        if (dump.all) {
            ask_others();
        }
    }
    log_text();
}

#ifdef Py_GIL_DISABLED

/* -- without a GIL --------------------------------------------------------- */

/* The other threads run, so none may look at their frames; to stop them for
 * that would also stop them for as long as one of them is in a C function. The
 * GIL task takes the names only, and each thread writes its own stack. (Also
 * where the GIL has been turned on again.) */
static void
in_python(void)
{
    take_names();
}

static void
finish_at_once(void)
{
    ask_all("(Python is busy in a C function: no names of threads)");
}

static bool
finish(int64_t now_ms)
{
    if (gil_task_state(&dump.task) == GIL_TASK_IDLE) {
        dump.has_names = true;
        ask_all(NULL);
        dump.has_names = false;
        return true;
    }
    if (now_ms - dump.since_ms < GIL_WAIT_MS) {
        return false;
    }
    if (gil_task_cancel(&dump.task)) {
        /* Python waits for one thread, to stop all. */
    }
    finish_at_once();
    return true;
}

static bool
is_free(void)
{
    return true;
}

#else

/* -- with the GIL ---------------------------------------------------------- */

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
        pthread_t id = PyLong_AsUnsignedLongMask(ident);
        if (PyFrame_Check(frame) && find_name(id) == NULL) {
            char title[LINE_TEXT];
            add_line(title_of(id, title));
            add_frames(frame);
        }
    }
}

static void
in_python(void)
{
    CLEANUP(py_clear) PyObject *get = py_sys_attr("_current_frames");
    CLEANUP(py_clear)
    PyObject *frames = get == NULL ? NULL : PyObject_CallNoArgs(get);

    take_names();
    dump.has_names = true;
    if (frames != NULL && PyDict_Check(frames)) {
        add_named(frames);
        if (dump.all) {
            add_others(frames);
        }
    }
    dump.has_names = false;
    PyErr_Clear();
    Py_BEGIN_ALLOW_THREADS log_text();
    Py_END_ALLOW_THREADS
}

static void
finish_at_once(void)
{
    ask_all("(Python is busy in a C function; each thread shows its own)");
}

static bool
finish(int64_t now_ms)
{
    switch (gil_task_state(&dump.task)) {
    case GIL_TASK_WAITING:
        if (now_ms - dump.since_ms < GIL_WAIT_MS ||
            !gil_task_cancel(&dump.task)) {
            return false;
        }
        finish_at_once();
        return true;
    case GIL_TASK_RUNNING:
        return now_ms - dump.since_ms >= GIL_TASK_MAX_MS;
    case GIL_TASK_IDLE:
    case GIL_TASK_CANCELLED:
        break;
    }
    return true;
}

/* A task that still runs writes the dump. */
static bool
is_free(void)
{
    return gil_task_state(&dump.task) != GIL_TASK_RUNNING;
}

#endif

/* -- both ------------------------------------------------------------------ */

void
stack_dump_open(void)
{
    PyGILState_STATE gil = PyGILState_Ensure();

    thread_stack_open();
    PyGILState_Release(gil);
    atomic_store(&is_open, true);
}

bool
stack_dump_prepare(enum log_level level, bool all, int fd)
{
    if (!atomic_load(&is_open) || dump.begun || !is_free()) {
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
    if (gil_task_begin(&dump.task, in_python) < 0) {
        /* An earlier task still waits, or no thread can be created. */
        finish_at_once();
        dump.begun = false;
    }
}

bool
stack_dump_work(int64_t now_ms)
{
    if (dump.begun && finish(now_ms)) {
        dump.begun = false;
    }
    return !dump.begun;
}
