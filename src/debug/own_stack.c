/*
 * own_stack.c - the Python stack of the calling thread, in a signal handler
 *
 * CPython has no function for that: those for frames make objects, which a
 * signal handler must not. So this reads the first two words of a frame, and
 * own_stack_open() tries whether that works.
 */
#include "debug/own_stack.h"

#include "python/python.h"

#ifdef Py_GIL_DISABLED

#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum {
    FRAMES_MAX = 100, /* as stack_dump.c */
    LINKS_MAX = 1000, /* with the frames that are no Python code */
    NAME_MAX_CHARS = 500
};

/* What a frame begins with, in 3.13 and 3.14. */
struct frame_head {
    uintptr_t executable; /* the code, in 3.14 with flags in the low bits */
    struct _PyInterpreterFrame *previous;
};

static int scratch_fd; /* own_stack_open() sets it, before signals come */

struct text {
    char *at, *end; /* *end is for the null byte */
};

/* -- writing --------------------------------------------------------------- */

static void
put_byte(struct text *t, unsigned c)
{
    if (t->at < t->end) {
        *t->at++ = (char)c;
    }
}

static void
put(struct text *t, const char *s)
{
    for (; *s != '\0'; s++) {
        put_byte(t, (unsigned char)*s);
    }
}

static void
put_number(struct text *t, int n)
{
    char digits[12];
    size_t i = sizeof digits;
    unsigned rest = n < 0 ? 0u - (unsigned)n : (unsigned)n;

    digits[--i] = '\0';
    do {
        digits[--i] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    put(t, n < 0 ? "-" : "");
    put(t, digits + i);
}

static void
put_hex(struct text *t, Py_UCS4 c, int digits)
{
    while (digits-- > 0) {
        put_byte(t, (unsigned char)"0123456789abcdef"[c >> digits * 4 & 15]);
    }
}

/* As UTF-8; what has no place in a line of UTF-8 as Python escapes it. */
static void
put_char(struct text *t, Py_UCS4 c)
{
    if (c < ' ' || c == 0x7F) {
        put(t, "\\x");
        put_hex(t, c, 2);
    }
    else if (c < 0x80) {
        put_byte(t, c);
    }
    else if (c < 0x800) {
        put_byte(t, 0xC0 | c >> 6);
        put_byte(t, 0x80 | (c & 0x3F));
    }
    else if (c >= 0xD800 && c < 0xE000) {
        put(t, "\\u");
        put_hex(t, c, 4);
    }
    else {
        if (c >= 0x10000) {
            put_byte(t, 0xF0 | c >> 18);
            put_byte(t, 0x80 | (c >> 12 & 0x3F));
        }
        else {
            put_byte(t, 0xE0 | c >> 12);
        }
        put_byte(t, 0x80 | (c >> 6 & 0x3F));
        put_byte(t, 0x80 | (c & 0x3F));
    }
}

static void
put_str(struct text *t, PyObject *str)
{
    if (str == NULL || !PyUnicode_Check(str)) {
        put(t, "???");
        return;
    }
    Py_ssize_t n = PyUnicode_GET_LENGTH(str);
    for (Py_ssize_t i = 0; i < n && i < NAME_MAX_CHARS; i++) {
        put_char(t, PyUnicode_READ_CHAR(str, i));
    }
    put(t, n > NAME_MAX_CHARS ? "..." : "");
}

/* -- reading --------------------------------------------------------------- */

/* The signal may have come between the stores that make a frame the current
 * one, and a compiler may have put them in any order: the kernel says what can
 * be read. */
static bool
read_memory(const void *from, void *to, size_t n)
{
    return pwrite(scratch_fd, from, n, 0) == (ssize_t)n &&
           pread(scratch_fd, to, n, 0) == (ssize_t)n;
}

/* NULL: an entry from C, or no frame. */
static PyCodeObject *
code_of(const struct frame_head *head)
{
    uintptr_t address = head->executable & ~(uintptr_t)3;
    PyObject *o = NULL;
    PyObject copy;

    memcpy(&o, &address, sizeof o);
    return o != NULL && read_memory(o, &copy, sizeof copy) &&
                   copy.ob_type == &PyCode_Type
               ? (PyCodeObject *)o
               : NULL;
}

/* False: it is an internal frame of CPython, which has no line at all. */
static bool
put_frame(struct text *t, struct _PyInterpreterFrame *frame, PyCodeObject *code)
{
    int line = PyUnstable_InterpreterFrame_GetLine(frame);

    if (line < 0 && code->co_firstlineno <= 0) {
        return false;
    }
    put(t, "  File \"");
    put_str(t, code->co_filename);
    put(t, "\", line ");
    put_number(t, line);
    put(t, ", in ");
    put_str(t, code->co_qualname);
    put(t, "\n");
    return true;
}

void
own_stack_write(char *to, size_t size)
{
    struct text t = {.at = to, .end = to + size - 1};
    /* From the thread's own storage, without a lock; NULL before and after the
     * time that it is Python's. */
    const PyThreadState *state = PyGILState_GetThisThreadState();
    struct _PyInterpreterFrame *frame =
        state == NULL ? NULL : state->current_frame;
    struct frame_head head;

    assert(size > 0);
    for (int links = 0, frames = 0; frame != NULL; links++) {
        if (frames == FRAMES_MAX || links == LINKS_MAX) {
            put(&t, "  ...\n");
            break;
        }
        if (!read_memory(frame, &head, sizeof head)) {
            put(&t, "  (the rest cannot be read now)\n");
            break;
        }
        PyCodeObject *code = code_of(&head);
        frames += code != NULL && put_frame(&t, frame, code);
        frame = head.previous;
    }
    *t.at = '\0';
}

/* -- does it work with this version? --------------------------------------- */

static const char probe_code[] = "def outer():\n"
                                 "    def inner():\n"
                                 "        return probe()\n"
                                 "    return inner()\n"
                                 "found = outer()\n";
static const char probe_stack[] =
    "  File \"<stack>\", line 3, in outer.<locals>.inner\n"
    "  File \"<stack>\", line 4, in outer\n"
    "  File \"<stack>\", line 5, in <module>\n";

static PyObject *
probe(PyObject *self, PyObject *args)
{
    char text[1024];

    (void)self;
    (void)args;
    own_stack_write(text, sizeof text);
    return PyBool_FromLong(strncmp(text, probe_stack, sizeof probe_stack - 1) ==
                           0);
}

bool
own_stack_open(int fd)
{
    static PyMethodDef def = {"probe", probe, METH_NOARGS, NULL};

    ASSERT_ATTACHED();
    scratch_fd = fd;
    CLEANUP(py_clear)
    PyObject *code = Py_CompileString(probe_code, "<stack>", Py_file_input);
    CLEANUP(py_clear) PyObject *function = PyCFunction_New(&def, NULL);
    CLEANUP(py_clear) PyObject *globals = PyDict_New();
    CLEANUP(py_clear) PyObject *r = NULL;

    if (code != NULL && function != NULL && globals != NULL &&
        PyDict_SetItemString(globals, "probe", function) == 0) {
        r = PyEval_EvalCode(code, globals, globals);
    }
    CLEANUP(py_clear)
    PyObject *found =
        r == NULL ? NULL : PyMapping_GetItemString(globals, "found");
    PyErr_Clear();
    return found == Py_True;
}

#else

bool
own_stack_open(UNUSED int fd)
{
    return false;
}

void
own_stack_write(char *to, UNUSED size_t size)
{
    *to = '\0';
}

#endif
