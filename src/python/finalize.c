/*
 * finalize.c - ends Python without Py_FinalizeEx(), with nothing lost
 *
 * This does, in the same order, those steps of Py_FinalizeEx() that a program
 * can notice. The rest, which takes the interpreter apart, only costs time.
 */
#include "python/finalize.h"

#include "python/python.h"

enum { WRITER_TYPES = 3 };

/* Calls module.name() if the module has been imported. */
static void
call_if_imported(const char *module, const char *name)
{
    PyObject *m = py_loaded_module(module);
    if (m == NULL) {
        return;
    }
    PyObject *r = PyObject_CallMethod(m, name, NULL);
    if (r == NULL) {
        PyErr_WriteUnraisable(m);
    }
    Py_XDECREF(r);
    Py_DECREF(m);
}

static void
flush(PyObject *writer)
{
    PyObject *r = PyObject_CallMethod(writer, "flush", NULL);
    if (r == NULL) {
        PyErr_Clear(); /* closed, or the reader is gone */
    }
    Py_XDECREF(r);
}

/* Finds the standard library's writer types; a type that is missing stays NULL.
 * New references. */
static void
find_writer_types(PyObject *types[WRITER_TYPES])
{
    static const char *const names[WRITER_TYPES] = {
        "TextIOWrapper", "BufferedWriter", "BufferedRandom"};
    CLEANUP(py_clear) PyObject *io = PyImport_ImportModule("_io");

    for (int i = 0; i < WRITER_TYPES; i++) {
        types[i] = io == NULL ? NULL : PyObject_GetAttrString(io, names[i]);
    }
    if (PyErr_Occurred()) {
        PyErr_WriteUnraisable(NULL);
    }
}

#if PY_VERSION_HEX >= 0x030C0000
struct writer_search {
    PyObject **types;
    PyObject *found;
};

/* Called during a walk of the collector's lists, so it must not start a
 * collection; appending to a list does not. On a free-threaded Python all other
 * threads are stopped during the walk. */
static int
visit_object(PyObject *o, void *arg)
{
    struct writer_search *v = arg;
    for (int i = 0; i < WRITER_TYPES; i++) {
        if ((PyObject *)Py_TYPE(o) == v->types[i]) {
            return PyList_Append(v->found, o) == 0;
        }
    }
    return 1;
}

static PyObject *
find_writers(PyObject *types[WRITER_TYPES])
{
    struct writer_search v = {types, PyList_New(0)};
    if (v.found != NULL) {
        PyUnstable_GC_VisitObjects(visit_object, &v);
        PyErr_Clear();
    }
    return v.found;
}
#else
/* All objects; flush_writers() picks the writers. */
static PyObject *
find_writers(UNUSED PyObject *types[WRITER_TYPES])
{
    CLEANUP(py_clear) PyObject *gc = PyImport_ImportModule("gc");
    return gc == NULL ? NULL : PyObject_CallMethod(gc, "get_objects", NULL);
}
#endif

static void
flush_writers(void)
{
    PyObject *types[WRITER_TYPES];

    find_writer_types(types);
    CLEANUP(py_clear) PyObject *found = find_writers(types);
    if (found == NULL) {
        PyErr_WriteUnraisable(NULL);
    }
    for (int t = 0; t < WRITER_TYPES; t++) {
        Py_ssize_t n = found == NULL ? 0 : PyList_GET_SIZE(found);
        for (Py_ssize_t i = 0; i < n && i < PyList_GET_SIZE(found); i++) {
            PyObject *o = PyList_GET_ITEM(found, i); /* borrowed: found's */
            if ((PyObject *)Py_TYPE(o) == types[t]) {
                flush(o);
            }
        }
        Py_CLEAR(types[t]);
    }
}

/* sys.stdout and sys.stderr may be any object with a flush(), so
 * flush_writers() would miss them. */
static void
flush_standard(void)
{
    static const char *const names[] = {"stdout", "stderr"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        CLEANUP(py_clear) PyObject *stream = py_sys_attr(names[i]);
        if (stream != NULL && stream != Py_None) {
            flush(stream);
        }
    }
}

void
finalize_flush(void)
{
    ASSERT_ATTACHED();
    flush_standard();
    flush_writers();
}

void
finalize_python(bool join_threads)
{
    ASSERT_ATTACHED();
    PyErr_Clear();
    if (join_threads) {
        call_if_imported("threading", "_shutdown");
    }
    call_if_imported("atexit", "_run_exitfuncs");
    /* Before 3.13 the collector does not list frozen objects, and sys.stdout
     * may be one. */
    call_if_imported("gc", "unfreeze");
    finalize_flush();
}
