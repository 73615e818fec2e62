/*
 * debug_page.c - the error page of --debug
 *
 * The page is for a developer who has just made a mistake: at the top is what
 * happened, then come the line where it happened and the calls, newest first.
 */
#include "debug/debug_page.h"

#include "config.h"
#include "debug/traceback.h"
#include "text/html.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHAIN_MAX = 8,     /* exceptions: the one that was raised and its causes */
    FRAMES_MAX = 40,   /* calls of each exception */
    CONTEXT_LINES = 4, /* source lines before and after */
    LINE_MAX_CHARS = 300, /* of a source line, which may be minified code */
    VALUE_MAX = 4096,     /* bytes of a variable's value */
};

/* -- writing HTML ---------------------------------------------------------- */

static void
add_text(struct text_writer *w, const char *s)
{
    html_lines(w, s, strlen(s));
}

/* Adds str(o), also with lone surrogates, and clears an exception. NULL adds
 * nothing. */
static void
add_object(struct text_writer *w, PyObject *o)
{
    CLEANUP(py_clear) PyObject *str = o == NULL ? NULL : PyObject_Str(o);
    CLEANUP(py_clear)
    PyObject *utf8 =
        str == NULL
            ? NULL
            : PyUnicode_AsEncodedString(str, "utf-8", "backslashreplace");
    if (utf8 != NULL) {
        html_lines(w, PyBytes_AS_STRING(utf8), (size_t)PyBytes_GET_SIZE(utf8));
    }
    else if (o != NULL) {
        text_writer_text(w, "<em>(its str() failed)</em>");
    }
    PyErr_Clear();
}

/* Adds bytes from the web server; what is not UTF-8 appears as \xNN. */
static void
add_raw(struct text_writer *w, const char *s, size_t n)
{
    CLEANUP(py_clear)
    PyObject *str = PyUnicode_DecodeUTF8(s, (Py_ssize_t)n, "backslashreplace");
    add_object(w, str);
    PyErr_Clear();
}

/* -- looking at Python ----------------------------------------------------- */

/* A new reference or NULL, without an exception. */
static PyObject *
attribute(PyObject *o, const char *name)
{
    PyObject *value = o == NULL ? NULL : py_attr(o, name);
    PyErr_Clear();
    return value;
}

static long
number(PyObject *o)
{
    long n = o != NULL && PyLong_Check(o) ? PyLong_AsLong(o) : 0;
    PyErr_Clear();
    return n;
}

/* module.function(arguments by format), as attribute(). */
#define CALL(MODULE, FUNCTION, ...) \
    call((MODULE), (FUNCTION), Py_BuildValue(__VA_ARGS__))

static PyObject *
call(const char *module, const char *function, PyObject *args)
{
    CLEANUP(py_clear) PyObject *taken = args;
    CLEANUP(py_clear) PyObject *m = PyImport_ImportModule(module);
    CLEANUP(py_clear) PyObject *f = attribute(m, function);
    PyObject *r =
        f == NULL || taken == NULL ? NULL : PyObject_CallObject(f, taken);
    PyErr_Clear();
    return r;
}

/* A name such as "sqlite3.OperationalError". */
static void
add_type(struct text_writer *w, PyObject *exc)
{
    PyObject *type = (PyObject *)Py_TYPE(exc);
    CLEANUP(py_clear) PyObject *module = attribute(type, "__module__");
    CLEANUP(py_clear) PyObject *name = attribute(type, "__qualname__");
    bool plain = module == NULL || !PyUnicode_Check(module) ||
                 PyUnicode_CompareWithASCIIString(module, "builtins") == 0 ||
                 PyUnicode_CompareWithASCIIString(module, "_wsgi_cgi") == 0;
    if (!plain) {
        add_object(w, module);
        text_writer_text(w, ".");
    }
    if (name != NULL) {
        add_object(w, name);
    }
    else {
        add_text(w, Py_TYPE(exc)->tp_name);
    }
}

/* -- the traceback --------------------------------------------------------- */

static void
add_source_line(struct text_writer *w, PyObject *line, long n, bool is_here)
{
    text_writer_printf(w, "<span%s><i>%ld</i>", is_here ? " class=here" : "",
                       n);
    CLEANUP(py_clear)
    PyObject *cut = PyUnicode_Check(line)
                        ? PyUnicode_Substring(line, 0, LINE_MAX_CHARS)
                        : NULL;
    CLEANUP(py_clear)
    PyObject *text = cut == NULL ? NULL : py_call(cut, "rstrip", NULL);
    PyErr_Clear();
    add_object(w, text);
    text_writer_text(w, "</span>");
}

/* False: there is no source. */
static bool
add_source(struct text_writer *w, PyObject *filename, long here)
{
    Py_XDECREF(CALL("linecache", "checkcache", "(O)", filename));
    CLEANUP(py_clear)
    PyObject *lines = CALL("linecache", "getlines", "(O)", filename);
    long n_lines = lines == NULL || !PyList_Check(lines)
                       ? 0
                       : (long)PyList_GET_SIZE(lines);
    if (here < 1 || here > n_lines) {
        return false;
    }
    long first = here > CONTEXT_LINES ? here - CONTEXT_LINES : 1;
    long last = here + CONTEXT_LINES;
    if (last > n_lines) {
        last = n_lines;
    }
    text_writer_text(w, "<pre class=source>");
    for (long n = first; n <= last; n++) {
        /* linecache gives every thread the same list. */
        CLEANUP(py_clear) PyObject *line = PyList_GetItemRef(lines, n - 1);
        PyErr_Clear();
        if (line != NULL) {
            add_source_line(w, line, n, n == here);
        }
    }
    text_writer_text(w, "</pre>");
    return true;
}

static void
add_frame(struct text_writer *w, PyObject *frame, bool open)
{
    CLEANUP(py_clear) PyObject *filename = attribute(frame, "filename");
    CLEANUP(py_clear) PyObject *function = attribute(frame, "name");
    CLEANUP(py_clear) PyObject *lineno = attribute(frame, "lineno");
    long here = number(lineno);

    text_writer_text(w, open ? "<details open><summary><b>"
                             : "<details><summary><b>");
    add_object(w, function);
    text_writer_text(w, "</b> <code class=file>");
    add_object(w, filename);
    text_writer_printf(w, ":%ld</code></summary>", here);
    if (filename == NULL || !add_source(w, filename, here)) {
        text_writer_text(w, "<pre>(no source)</pre>");
    }
    text_writer_text(w, "</details>");
}

static void
add_note(struct text_writer *w, const char *before, Py_ssize_t n,
         const char *after)
{
    if (n > 0) {
        text_writer_printf(w, "<p class=note>%s%zd%s</p>", before, n, after);
    }
}

/* The calls of an exception, oldest first. A new reference to a list, or
 * NULL. */
static PyObject *
frames_of(PyObject *exc)
{
    CLEANUP(py_clear) PyObject *tb = PyException_GetTraceback(exc);
    CLEANUP(py_clear)
    PyObject *frames =
        tb == NULL ? NULL : CALL("traceback", "extract_tb", "(O)", tb);
    return frames != NULL && PyList_Check(frames) ? py_steal(&frames) : NULL;
}

/* The folder of Python's own modules. A new reference to a string, or NULL. */
static PyObject *
standard_library(void)
{
    CLEANUP(py_clear) PyObject *m = PyImport_ImportModule("linecache");
    CLEANUP(py_clear) PyObject *file = attribute(m, "__file__");
    Py_ssize_t slash =
        file == NULL || !PyUnicode_Check(file)
            ? -1
            : PyUnicode_FindChar(file, '/', 0, PyUnicode_GET_LENGTH(file), -1);
    PyObject *folder = slash < 0 ? NULL : PyUnicode_Substring(file, 0, slash);
    PyErr_Clear();
    return folder;
}

/* True for code of the user: no "<frozen os>" or "<string>", none of Python's
 * and of installed packages. */
static bool
is_own(PyObject *frame, const char *library)
{
    CLEANUP(py_clear) PyObject *filename = attribute(frame, "filename");
    const char *file = filename != NULL && PyUnicode_Check(filename)
                           ? PyUnicode_AsUTF8(filename)
                           : NULL;
    size_t n = library == NULL ? 0 : strlen(library);

    PyErr_Clear();
    return file != NULL && file[0] != '<' &&
           strstr(file, "/site-packages/") == NULL &&
           strstr(file, "/dist-packages/") == NULL &&
           !(n > 0 && strncmp(file, library, n) == 0 && file[n] == '/');
}

/* The place of the newest call of the user's own code among those that are
 * shown, or -1. */
static Py_ssize_t
own_frame(PyObject *exc)
{
    CLEANUP(py_clear) PyObject *frames = frames_of(exc);
    CLEANUP(py_clear) PyObject *folder = standard_library();
    const char *library = folder == NULL ? NULL : PyUnicode_AsUTF8(folder);
    Py_ssize_t n = frames == NULL ? 0 : PyList_GET_SIZE(frames);
    Py_ssize_t i = n - 1;

    PyErr_Clear();
    while (i >= 0 && n - i <= FRAMES_MAX &&
           !is_own(PyList_GET_ITEM(frames, i), library)) {
        i--;
    }
    return i >= 0 && n - i <= FRAMES_MAX ? i : -1;
}

/* Newest first. A call that repeats, as in endless recursion, is shown once. */
static void
add_frames(struct text_writer *w, PyObject *exc, Py_ssize_t open)
{
    CLEANUP(py_clear) PyObject *frames = frames_of(exc);
    Py_ssize_t n = frames == NULL ? 0 : PyList_GET_SIZE(frames);
    Py_ssize_t repeated = 0;
    int shown = 0;
    Py_ssize_t i = n;

    for (; i > 0 && shown < FRAMES_MAX; i--) {
        PyObject *frame = PyList_GET_ITEM(frames, i - 1);
        if (i < n && PyObject_RichCompareBool(frame, PyList_GET_ITEM(frames, i),
                                              Py_EQ) == 1) {
            repeated++;
            continue;
        }
        add_note(w, "The same call ", repeated, " times more.");
        repeated = 0;
        add_frame(w, frame, i - 1 == open);
        shown++;
    }
    PyErr_Clear();
    add_note(w, "The same call ", repeated, " times more.");
    add_note(w, "", i, " earlier calls are not shown.");
}

/* The place where the parser stopped is not a call, so no frame shows it. */
static void
add_syntax_error(struct text_writer *w, PyObject *exc)
{
    if (!PyErr_GivenExceptionMatches(exc, PyExc_SyntaxError)) {
        return;
    }
    CLEANUP(py_clear) PyObject *filename = attribute(exc, "filename");
    CLEANUP(py_clear) PyObject *lineno = attribute(exc, "lineno");
    long here = number(lineno);
    if (filename == NULL || !PyUnicode_Check(filename) || here < 1) {
        return;
    }
    text_writer_text(w, "<div class=box><p><code class=file>");
    add_object(w, filename);
    text_writer_printf(w, ":%ld</code></p>", here);
    (void)add_source(w, filename, here);
    text_writer_text(w, "</div>");
}

/* What Python would print as the reason, introduced by *ret_word. A new
 * reference or NULL. */
static PyObject *
reason_of(PyObject *exc, const char **ret_word)
{
    PyObject *cause = PyException_GetCause(exc);
    *ret_word = "It was caused by this:";
    if (cause == NULL) {
        CLEANUP(py_clear)
        PyObject *hide = attribute(exc, "__suppress_context__");
        cause = hide == Py_True ? NULL : PyException_GetContext(exc);
        *ret_word = "It was raised while this was being handled:";
    }
    return cause;
}

/* The call that is shown open: the newest of the user's own code in the first
 * exception that has one, else the newest of all. Returns the number of the
 * exception in the chain. */
static int
choose_open(PyObject *exc, Py_ssize_t *ret_frame)
{
    PyObject *at = Py_NewRef(exc);
    int chosen = -1;

    for (int i = 0; i < CHAIN_MAX && at != NULL; i++) {
        const char *word;
        Py_ssize_t own = own_frame(at);
        if (chosen < 0 || own >= 0) {
            CLEANUP(py_clear) PyObject *frames = frames_of(at);
            Py_ssize_t n = frames == NULL ? 0 : PyList_GET_SIZE(frames);
            *ret_frame = own >= 0 ? own : n - 1;
            chosen = n > 0 ? i : chosen;
        }
        if (own >= 0) {
            break;
        }
        Py_SETREF(at, reason_of(at, &word));
    }
    Py_XDECREF(at);
    return chosen;
}

static void
add_chain(struct text_writer *w, PyObject *exc)
{
    Py_ssize_t open = -1;
    int with_open = choose_open(exc, &open);
    PyObject *at = Py_NewRef(exc);
    const char *word = "";

    for (int i = 0; i < CHAIN_MAX && at != NULL; i++) {
        CLEANUP(py_clear) PyObject *tb = PyException_GetTraceback(at);
        if (i > 0) {
            text_writer_printf(w, "<h2><small>%s</small>", word);
            add_type(w, at);
            text_writer_text(w, "</h2><p class=text>");
            add_object(w, at);
            text_writer_text(w, "</p>");
        }
        else if (tb != NULL) {
            text_writer_text(
                w, "<h2>Traceback <small>newest call first</small></h2>");
        }
        add_syntax_error(w, at);
        add_frames(w, at, i == with_open ? open : -1);
        Py_SETREF(at, reason_of(at, &word));
    }
    Py_XDECREF(at);
}

static void
add_plain_traceback(struct text_writer *w, PyObject *exc)
{
    CLEANUP(py_clear) PyObject *text = traceback_format(exc);

    PyErr_Clear();
    if (text == NULL) {
        return;
    }
    text_writer_text(w, "<details><summary>The traceback as in the log"
                        "</summary><pre>");
    html_lines(w, PyBytes_AS_STRING(text), (size_t)PyBytes_GET_SIZE(text));
    text_writer_text(w, "</pre></details>");
}

/* -- the request ----------------------------------------------------------- */

static int
by_name(const void *a, const void *b)
{
    const struct param *x = a;
    const struct param *y = b;
    size_t n = x->name_len < y->name_len ? x->name_len : y->name_len;
    int order = memcmp(x->name, y->name, n);
    if (order != 0) {
        return order;
    }
    return (x->name_len > y->name_len) - (x->name_len < y->name_len);
}

static void
add_param(struct text_writer *w, const struct param *e)
{
    text_writer_text(w, "<tr><th>");
    add_raw(w, e->name, e->name_len);
    text_writer_text(w, "</th><td>");
    if (params_is_secret(e)) {
        text_writer_printf(w, "<em>not shown, %u bytes</em>", e->value_len);
    }
    else if (e->value_len > VALUE_MAX) {
        add_raw(w, e->value, VALUE_MAX);
        text_writer_printf(w, "<em> ... (%u bytes)</em>", e->value_len);
    }
    else {
        add_raw(w, e->value, e->value_len);
    }
    text_writer_text(w, "</td></tr>");
}

static void
add_params(struct text_writer *w, const struct params *params)
{
    struct param *sorted = calloc(params->n + 1, sizeof(*sorted));
    size_t n = 0;
    if (sorted == NULL) {
        w->err = -ENOMEM;
        return;
    }
    for (size_t i = 0; i < params->n; i++) {
        if (params->v[i].value != NULL) {
            sorted[n++] = params->v[i];
        }
    }
    qsort(sorted, n, sizeof(*sorted), by_name);
    text_writer_text(w, "<h2>Request</h2><table>");
    for (size_t i = 0; i < n; i++) {
        add_param(w, &sorted[i]);
    }
    text_writer_text(w, "</table>");
    free(sorted);
}

/* -- the page -------------------------------------------------------------- */

static void
add_python(struct text_writer *w)
{
    CLEANUP(py_clear) PyObject *executable = py_sys_attr("executable");
    CLEANUP(py_clear) PyObject *list = py_sys_attr("path");
    /* Another thread may change it. */
    CLEANUP(py_clear)
    PyObject *path =
        list == NULL || !PyList_Check(list) ? NULL : PySequence_Tuple(list);
    Py_ssize_t n = path == NULL ? 0 : PyTuple_GET_SIZE(path);

    PyErr_Clear();
    text_writer_text(w, "<h2>Python</h2><table><tr><th>version</th><td>");
    add_text(w, Py_GetVersion());
    text_writer_text(w, "</td></tr><tr><th>sys.executable</th><td>");
    add_object(w, executable);
    text_writer_text(w, "</td></tr><tr><th>sys.path</th><td>");
    for (Py_ssize_t i = 0; i < n; i++) {
        add_object(w, PyTuple_GET_ITEM(path, i));
        text_writer_text(w, "\n");
    }
    text_writer_text(w, "</td></tr></table>");
}

static void
add_head(struct text_writer *w, struct request *q, PyObject *exc)
{
    char line[512];
    request_line(q, line, sizeof(line));

    html_begin(w, 0);
    add_type(w, exc);
    html_begin_body(w, "debug");
    text_writer_text(w, "<header><p class=request><code>");
    add_raw(w, line, strlen(line));
    text_writer_text(w, "</code> &middot; error <code>");
    add_text(w, request_id(q));
    text_writer_text(w, "</code></p><h1 class=bad>");
    add_type(w, exc);
    text_writer_text(w, "</h1><p class=text>");
    add_object(w, exc);
    text_writer_text(w, "</p></header>\n<main>");
}

int
debug_page(struct request *q, PyObject *exc, struct buf *out)
{
    ASSERT_ATTACHED();
    struct text_writer w = {.out = out};

    add_head(&w, q, exc);
    add_chain(&w, exc);
    add_plain_traceback(&w, exc);
    add_params(&w, &q->params);
    add_python(&w);
    text_writer_text(
        &w, "</main>\n<footer>This page shows details because of "
            "<code>--debug</code>: do not use it where other users can see the "
            "page. The log has the same error with the ID above. "
            "wsgi-cgi " WSGI_CGI_VERSION "</footer></body></html>\n");
    PyErr_Clear();
    assert(w.err <= 0);
    return w.err;
}
