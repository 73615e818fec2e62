/*
 * traceback.c - an exception as text
 */
#include "debug/traceback.h"

/* "  File "app.py", line 3, in application" for one frame. */
static PyObject *
format_frame(PyObject *frame)
{
    CLEANUP(py_clear) PyObject *of = PyObject_GetAttrString(frame, "tb_frame");
    CLEANUP(py_clear)
    PyObject *line = PyObject_GetAttrString(frame, "tb_lineno");
    CLEANUP(py_clear)
    PyObject *code = of == NULL ? NULL : PyObject_GetAttrString(of, "f_code");
    CLEANUP(py_clear)
    PyObject *file =
        code == NULL ? NULL : PyObject_GetAttrString(code, "co_filename");
    CLEANUP(py_clear)
    PyObject *function =
        code == NULL ? NULL : PyObject_GetAttrString(code, "co_name");

    return line == NULL || file == NULL || function == NULL
               ? NULL
               : PyUnicode_FromFormat("  File \"%S\", line %S, in %S\n", file,
                                      line, function);
}

/* The lines of the traceback without the module traceback. */
static PyObject *
plain_lines(PyObject *exc, PyObject *why)
{
    CLEANUP(py_clear) PyObject *lines = PyList_New(0);
    CLEANUP(py_clear)
    PyObject *first =
        PyUnicode_FromFormat("Traceback (most recent call last):\n"
                             "  (no source lines, since the module traceback "
                             "cannot be used: %s: %S)\n",
                             Py_TYPE(why)->tp_name, why);
    CLEANUP(py_clear)
    PyObject *last =
        first == NULL
            ? NULL
            : PyUnicode_FromFormat("%s: %S\n", Py_TYPE(exc)->tp_name, exc);
    PyObject *frame = PyException_GetTraceback(exc);
    int r = lines == NULL || last == NULL ? -1 : PyList_Append(lines, first);

    while (r == 0 && frame != NULL && frame != Py_None) {
        CLEANUP(py_clear) PyObject *text = format_frame(frame);
        PyObject *next = PyObject_GetAttrString(frame, "tb_next");
        r = text == NULL || next == NULL ? -1 : PyList_Append(lines, text);
        Py_SETREF(frame, next);
    }
    Py_XDECREF(frame);
    return r < 0 || PyList_Append(lines, last) < 0 ? NULL : py_steal(&lines);
}

static PyObject *
lines_of(PyObject *exc)
{
    CLEANUP(py_clear) PyObject *module = PyImport_ImportModule("traceback");
    CLEANUP(py_clear) PyObject *frames = PyException_GetTraceback(exc);
    CLEANUP(py_clear)
    PyObject *format =
        module == NULL ? NULL : py_attr(module, "format_exception");

    return format == NULL ? NULL
                          : PyObject_CallFunctionObjArgs(
                                format, (PyObject *)Py_TYPE(exc), exc,
                                frames == NULL ? Py_None : frames, NULL);
}

/* A module of the application may hide one that traceback imports: token.py for
 * example. */
PyObject *
traceback_format(PyObject *exc)
{
    CLEANUP(py_clear) PyObject *lines = lines_of(exc);
    CLEANUP(py_clear)
    PyObject *why = lines == NULL ? PyErr_GetRaisedException() : NULL;

    if (why != NULL) {
        lines = plain_lines(exc, why);
    }
    CLEANUP(py_clear) PyObject *empty = PyUnicode_FromString("");
    if (lines == NULL || empty == NULL) {
        return NULL;
    }
    CLEANUP(py_clear) PyObject *text = PyUnicode_Join(empty, lines);
    return text == NULL
               ? NULL
               : PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
}

void
traceback_prepare(void)
{
    ASSERT_ATTACHED();
    /* Formats a complete exception, since versions of CPython import different
     * modules at different times. This one, an AttributeError, has a frame in a
     * small file of the standard library. */
    CLEANUP(py_clear) PyObject *module = PyImport_ImportModule("linecache");
    CLEANUP(py_clear)
    PyObject *r = module == NULL
                      ? NULL
                      : PyObject_CallMethod(module, "updatecache", "i", 1);
    CLEANUP(py_clear)
    PyObject *exc = r == NULL ? PyErr_GetRaisedException() : NULL;
    CLEANUP(py_clear)
    PyObject *text = exc == NULL ? NULL : traceback_format(exc);

    (void)text;
    PyErr_Clear();
#if PY_VERSION_HEX >= 0x030C0000
    /* traceback measures source lines that are not ASCII with it. */
    CLEANUP(py_clear) PyObject *data = PyImport_ImportModule("unicodedata");
    PyErr_Clear();
#endif
}
