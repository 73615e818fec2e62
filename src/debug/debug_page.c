/*
 * debug_page.c - the error page of --debug
 *
 * The page is for a person who has just made a mistake: what happened stands on
 * top, then the line where it did, then the way there, newest call first.
 */
#include "debug/debug_page.h"

#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHAIN_MAX = 8,        /* exceptions: the raised one and its causes */
    FRAMES_MAX = 40,      /* calls shown of each */
    CONTEXT_LINES = 4,    /* source lines above and below */
    LINE_MAX_CHARS = 300, /* of a source line: minified code */
    VALUE_MAX = 4096,     /* bytes of a variable's value */
};

/* Once failed, all further output is dropped. */
struct page {
    struct buf *out;
    int err;
};

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fbfbfa;--card:#fff;--fg:#1d2127;"
    "--dim:#626a74;--line:#dfe2e6;--bad:#b3261e;--mark:#fdebd0;--edge:#d9822b}"
    "@media(prefers-color-scheme:dark){:root{--bg:#16181c;--card:#1f2227;"
    "--fg:#e4e6ea;--dim:#9aa3ae;--line:#343941;--bad:#ff8a80;--mark:#4a3413;"
    "--edge:#e0a050}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--bg);color:var(--fg);"
    "font:16px/1.5 system-ui,sans-serif;-webkit-text-size-adjust:100%}"
    "header,main,footer{max-width:72rem;margin:0 auto;padding:0 1.25rem}"
    "header{padding-top:1.75rem}"
    "code,pre,td,th,.text{font-family:ui-monospace,Menlo,Consolas,"
    "\"DejaVu Sans Mono\",monospace;font-size:.84rem}"
    ".request{margin:0;color:var(--dim);overflow-wrap:anywhere}"
    "h1{margin:.35rem 0 0;color:var(--bad);font-size:1.7rem;line-height:1.25;"
    "overflow-wrap:anywhere}"
    ".text{margin:.6rem 0 0;font-size:1rem;white-space:pre-wrap;"
    "overflow-wrap:anywhere}"
    "h2+.text{margin:-.3rem 0 .8rem;font-size:.95rem}"
    "h2{margin:2rem 0 .6rem;font-size:1.1rem;overflow-wrap:anywhere}"
    "h2 small{display:block;color:var(--dim);font-weight:400;font-size:.85rem}"
    "details,table,.box{margin:0 0 .6rem;background:var(--card);"
    "border:1px solid var(--line);border-radius:6px;overflow:hidden}"
    ".box p{margin:0;border-bottom:1px solid var(--line)}"
    "summary,.box p{padding:.5rem "
    ".8rem;overflow-wrap:anywhere}summary{cursor:pointer}"
    "summary:hover{background:var(--bg)}"
    "details[open]>summary{border-bottom:1px solid var(--line)}"
    "summary b{font-weight:600}.file{color:var(--dim)}"
    "pre{margin:0;padding:.6rem .8rem;overflow-x:auto;line-height:1.55;"
    "tab-size:4}"
    "pre.source{padding:.4rem 0}"
    "pre.source span{display:block;width:max-content;min-width:100%;"
    "padding:0 .8rem 0 0;border-left:4px solid transparent}"
    "pre.source i{display:inline-block;width:3.6rem;padding-right:.9rem;"
    "text-align:right;color:var(--dim);font-style:normal;user-select:none}"
    "pre.source .here{background:var(--mark);border-left-color:var(--edge)}"
    ".note{margin:0 0 .6rem;color:var(--dim);font-size:.9rem}"
    "table{width:100%;border-collapse:separate;border-spacing:0}"
    "th,td{padding:.35rem .8rem;text-align:left;vertical-align:top;"
    "border-top:1px solid var(--line);overflow-wrap:anywhere}"
    "tr:first-child>*{border-top:0}"
    "th{width:17rem;color:var(--dim);font-weight:400}"
    "td{white-space:pre-wrap}td em,td s{color:var(--dim);"
    "text-decoration:none}"
    "footer{padding-top:1rem;padding-bottom:2rem;color:var(--dim);"
    "font-size:.85rem}"
    "@media(max-width:40rem){header,main,footer{padding-left:.8rem;"
    "padding-right:.8rem}h1{font-size:1.35rem}th,td{display:block;width:auto}"
    "td{border-top:0;padding-top:0}th{padding-bottom:0}"
    "pre.source i{width:2.6rem;padding-right:.6rem}}";

/* -- writing HTML --------------------------------------------------------------- */

static void
add_bytes(struct page *p, const char *s, size_t n)
{
    if (p->err == 0) {
        p->err = buf_add(p->out, s, n);
    }
}

static void
add(struct page *p, const char *html)
{
    add_bytes(p, html, strlen(html));
}

static void
add_number(struct page *p, long n)
{
    if (p->err == 0) {
        p->err = buf_printf(p->out, "%ld", n);
    }
}

/* What stands for this byte of UTF-8 in HTML; NULL: the byte itself. */
static const char *
entity_of(unsigned char c, char space[8])
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    case '\t':
    case '\n':
        return NULL;
    default:
        break;
    }
    if (c >= 0x20 && c != 0x7f) {
        return NULL;
    }
    (void)snprintf(space, 8, "\\x%02x", c); /* no HTML may hold these */
    return space;
}

static void
add_escaped(struct page *p, const char *s, size_t n)
{
    char space[8];
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        const char *entity = entity_of((unsigned char)s[i], space);
        if (entity != NULL) {
            add_bytes(p, s + from, i - from);
            add(p, entity);
            from = i + 1;
        }
    }
    add_bytes(p, s + from, n - from);
}

static void
add_text(struct page *p, const char *s)
{
    add_escaped(p, s, strlen(s));
}

/* str(o), lone surrogates and all. NULL adds nothing, but ends an exception. */
static void
add_object(struct page *p, PyObject *o)
{
    CLEANUP(py_clear) PyObject *str = o == NULL ? NULL : PyObject_Str(o);
    CLEANUP(py_clear)
    PyObject *utf8 =
        str == NULL
            ? NULL
            : PyUnicode_AsEncodedString(str, "utf-8", "backslashreplace");
    if (utf8 != NULL) {
        add_escaped(p, PyBytes_AS_STRING(utf8), (size_t)PyBytes_GET_SIZE(utf8));
    }
    else if (o != NULL) {
        add(p, "<em>(its str() failed)</em>");
    }
    PyErr_Clear();
}

/* Bytes of the web server: UTF-8 where they are, escapes where not. */
static void
add_raw(struct page *p, const char *s, size_t n)
{
    CLEANUP(py_clear)
    PyObject *str = PyUnicode_DecodeUTF8(s, (Py_ssize_t)n, "backslashreplace");
    add_object(p, str);
    PyErr_Clear();
}

/* -- looking at Python ---------------------------------------------------------- */

/* New reference or NULL, never an exception. */
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

/* module.function(arguments by format); as above. */
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
add_type(struct page *p, PyObject *exc)
{
    PyObject *type = (PyObject *)Py_TYPE(exc);
    CLEANUP(py_clear) PyObject *module = attribute(type, "__module__");
    CLEANUP(py_clear) PyObject *name = attribute(type, "__qualname__");
    bool plain = module == NULL || !PyUnicode_Check(module) ||
                 PyUnicode_CompareWithASCIIString(module, "builtins") == 0 ||
                 PyUnicode_CompareWithASCIIString(module, "_wsgi_cgi") == 0;
    if (!plain) {
        add_object(p, module);
        add(p, ".");
    }
    if (name != NULL) {
        add_object(p, name);
    }
    else {
        add_text(p, Py_TYPE(exc)->tp_name);
    }
}

/* -- the traceback ------------------------------------------------------------- */

static void
add_source_line(struct page *p, PyObject *line, long n, bool is_here)
{
    add(p, is_here ? "<span class=here><i>" : "<span><i>");
    add_number(p, n);
    add(p, "</i>");
    CLEANUP(py_clear)
    PyObject *cut = PyUnicode_Check(line)
                        ? PyUnicode_Substring(line, 0, LINE_MAX_CHARS)
                        : NULL;
    CLEANUP(py_clear)
    PyObject *text = cut == NULL ? NULL : py_call(cut, "rstrip", NULL);
    PyErr_Clear();
    add_object(p, text);
    add(p, "</span>");
}

/* False where the source cannot be had. */
static bool
add_source(struct page *p, PyObject *filename, long here)
{
    Py_XDECREF(CALL("linecache", "checkcache", "(O)", filename));
    CLEANUP(py_clear)
    PyObject *lines = CALL("linecache", "getlines", "(O)", filename);
    if (lines == NULL || !PyList_Check(lines) || here < 1 ||
        here > PyList_GET_SIZE(lines)) {
        return false;
    }
    long first = here > CONTEXT_LINES ? here - CONTEXT_LINES : 1;
    long last = here + CONTEXT_LINES;
    if (last > PyList_GET_SIZE(lines)) {
        last = (long)PyList_GET_SIZE(lines);
    }
    add(p, "<pre class=source>");
    for (long n = first; n <= last; n++) {
        add_source_line(p, PyList_GET_ITEM(lines, n - 1), n, n == here);
    }
    add(p, "</pre>");
    return true;
}

static void
add_frame(struct page *p, PyObject *frame, bool open)
{
    CLEANUP(py_clear) PyObject *filename = attribute(frame, "filename");
    CLEANUP(py_clear) PyObject *function = attribute(frame, "name");
    CLEANUP(py_clear) PyObject *lineno = attribute(frame, "lineno");
    long here = number(lineno);

    add(p, open ? "<details open><summary><b>" : "<details><summary><b>");
    add_object(p, function);
    add(p, "</b> <code class=file>");
    add_object(p, filename);
    add(p, ":");
    add_number(p, here);
    add(p, "</code></summary>");
    if (filename == NULL || !add_source(p, filename, here)) {
        add(p, "<pre>(no source)</pre>");
    }
    add(p, "</details>");
}

static void
add_note(struct page *p, const char *before, Py_ssize_t n, const char *after)
{
    if (n > 0) {
        add(p, "<p class=note>");
        add(p, before);
        add_number(p, (long)n);
        add(p, after);
        add(p, "</p>");
    }
}

/* Newest first. A call that repeats itself, as in endless recursion, is shown
 * once. */
static void
add_frames(struct page *p, PyObject *exc, bool open_first)
{
    CLEANUP(py_clear) PyObject *tb = PyException_GetTraceback(exc);
    CLEANUP(py_clear)
    PyObject *frames =
        tb == NULL ? NULL : CALL("traceback", "extract_tb", "(O)", tb);
    Py_ssize_t n =
        frames != NULL && PyList_Check(frames) ? PyList_GET_SIZE(frames) : 0;
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
        add_note(p, "The same call ", repeated, " times more.");
        repeated = 0;
        add_frame(p, frame, open_first && i == n);
        shown++;
    }
    PyErr_Clear();
    add_note(p, "The same call ", repeated, " times more.");
    add_note(p, "", i, " earlier calls are not shown.");
}

/* Where the parser stopped is not a call, so that no frame shows it. */
static void
add_syntax_error(struct page *p, PyObject *exc)
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
    add(p, "<div class=box><p><code class=file>");
    add_object(p, filename);
    add(p, ":");
    add_number(p, here);
    add(p, "</code></p>");
    (void)add_source(p, filename, here);
    add(p, "</div>");
}

/* What Python would print as its reason; *ret_word says how. New reference. */
static PyObject *
reason_of(PyObject *exc, const char **ret_word)
{
    PyObject *cause = PyException_GetCause(exc);
    *ret_word = "It was raised because of this:";
    if (cause == NULL) {
        CLEANUP(py_clear)
        PyObject *hide = attribute(exc, "__suppress_context__");
        cause = hide == Py_True ? NULL : PyException_GetContext(exc);
        *ret_word = "It was raised while this was being handled:";
    }
    return cause;
}

static void
add_chain(struct page *p, PyObject *exc)
{
    PyObject *at = Py_NewRef(exc);
    const char *word = "";
    bool opened = false; /* the first call there is, of whichever exception */

    for (int i = 0; i < CHAIN_MAX && at != NULL; i++) {
        CLEANUP(py_clear) PyObject *tb = PyException_GetTraceback(at);
        if (i > 0) {
            add(p, "<h2><small>");
            add(p, word);
            add(p, "</small>");
            add_type(p, at);
            add(p, "</h2><p class=text>");
            add_object(p, at);
            add(p, "</p>");
        }
        else if (tb != NULL) {
            add(p, "<h2>Traceback <small>newest call first</small></h2>");
        }
        add_syntax_error(p, at);
        add_frames(p, at, !opened);
        opened = opened || tb != NULL;
        Py_SETREF(at, reason_of(at, &word));
    }
    Py_XDECREF(at);
}

static void
add_plain_traceback(struct page *p, PyObject *exc)
{
    CLEANUP(py_clear) PyObject *tb = PyException_GetTraceback(exc);
    CLEANUP(py_clear)
    PyObject *lines =
        CALL("traceback", "format_exception", "(OOO)", (PyObject *)Py_TYPE(exc),
             exc, tb == NULL ? Py_None : tb);
    if (lines == NULL || !PyList_Check(lines)) {
        return;
    }
    add(p, "<details><summary>The same as text, as in the log</summary><pre>");
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(lines); i++) {
        add_object(p, PyList_GET_ITEM(lines, i));
    }
    add(p, "</pre></details>");
}

/* -- the request -------------------------------------------------------------------- */

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
add_param(struct page *p, const struct param *e)
{
    add(p, "<tr><th>");
    add_raw(p, e->name, e->name_len);
    add(p, "</th><td>");
    if (params_is_secret(e)) {
        add(p, "<em>not shown, ");
        add_number(p, (long)e->value_len);
        add(p, " bytes</em>");
    }
    else if (e->value_len > VALUE_MAX) {
        add_raw(p, e->value, VALUE_MAX);
        add(p, "<em> ... (");
        add_number(p, (long)e->value_len);
        add(p, " bytes)</em>");
    }
    else {
        add_raw(p, e->value, e->value_len);
    }
    add(p, "</td></tr>");
}

static void
add_params(struct page *p, const struct params *params)
{
    struct param *sorted = calloc(params->n + 1, sizeof(*sorted));
    size_t n = 0;
    if (sorted == NULL) {
        p->err = -ENOMEM;
        return;
    }
    for (size_t i = 0; i < params->n; i++) {
        if (params->v[i].value != NULL) {
            sorted[n++] = params->v[i];
        }
    }
    qsort(sorted, n, sizeof(*sorted), by_name);
    add(p, "<h2>Request</h2><table>");
    for (size_t i = 0; i < n; i++) {
        add_param(p, &sorted[i]);
    }
    add(p, "</table>");
    free(sorted);
}

/* -- the page ------------------------------------------------------------------------- */

static void
add_python(struct page *p)
{
    PyObject *executable = PySys_GetObject("executable"); /* borrowed */
    PyObject *path = PySys_GetObject("path");

    add(p, "<h2>Python</h2><table><tr><th>version</th><td>");
    add_text(p, Py_GetVersion());
    add(p, "</td></tr><tr><th>sys.executable</th><td>");
    add_object(p, executable);
    add(p, "</td></tr><tr><th>sys.path</th><td>");
    for (Py_ssize_t i = 0;
         path != NULL && PyList_Check(path) && i < PyList_GET_SIZE(path); i++) {
        add_object(p, PyList_GET_ITEM(path, i));
        add(p, "\n");
    }
    add(p, "</td></tr></table>");
}

static void
add_head(struct page *p, struct request *q, PyObject *exc)
{
    char line[512];
    request_line(q, line, sizeof(line));

    add(p, "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>"
           "<meta name=viewport content=\"width=device-width,"
           "initial-scale=1\"><meta name=robots content=noindex><title>");
    add_type(p, exc);
    add(p, "</title><style>");
    add(p, style);
    add(p, "</style></head>\n<body><header><p class=request><code>");
    add_raw(p, line, strlen(line));
    add(p, "</code> &middot; error <code>");
    add_text(p, request_id(q));
    add(p, "</code></p><h1>");
    add_type(p, exc);
    add(p, "</h1><p class=text>");
    add_object(p, exc);
    add(p, "</p></header>\n<main>");
}

int
debug_page(struct request *q, PyObject *exc, struct buf *out)
{
    ASSERT_GIL();
    struct page p = {.out = out, .err = 0};

    add_head(&p, q, exc);
    add_chain(&p, exc);
    add_plain_traceback(&p, exc);
    add_params(&p, &q->params);
    add_python(&p);
    add(&p, "</main>\n<footer>The page says so much because of "
            "<code>--debug</code>; leave that off where strangers can see it. "
            "The log has the same error under the number above. "
            "wsgi-cgi " WSGI_CGI_VERSION "</footer></body></html>\n");
    PyErr_Clear();
    return p.err;
}
