/*
 * python.h - <Python.h>, and what CPython 3.9 to 3.14 spell differently
 *
 * What:      the only include of <Python.h>: gives earlier versions the names
 *            of later ones; adds scope cleanup for references.
 * Threads:   any.
 * GIL:       held, for everything.
 * Errors:    CPython's convention.
 * Blocks:    never.
 */
#ifndef PYTHON_PYTHON_H
#define PYTHON_PYTHON_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "base/compiler.h"

#include <assert.h>

#if PY_VERSION_HEX < 0x03090000
#error "CPython 3.9 or later is needed"
#endif

#if PY_VERSION_HEX < 0x030A0000
static inline PyObject *
Py_NewRef(PyObject *o)
{
    Py_INCREF(o);
    return o;
}

static inline PyObject *
Py_XNewRef(PyObject *o)
{
    Py_XINCREF(o);
    return o;
}

static inline int
PyModule_AddObjectRef(PyObject *module, const char *name, PyObject *value)
{
    Py_XINCREF(value);
    int r = value == NULL ? -1 : PyModule_AddObject(module, name, value);
    if (r < 0) {
        Py_XDECREF(value);
    }
    return r;
}

#define Py_TPFLAGS_IMMUTABLETYPE 0UL
#define Py_TPFLAGS_DISALLOW_INSTANTIATION 0UL
#endif

#if PY_VERSION_HEX < 0x030B0000
#include <frameobject.h>
#endif

#if PY_VERSION_HEX < 0x030C0000
static inline PyObject *
PyErr_GetRaisedException(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == NULL) {
        return NULL;
    }
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        (void)PyException_SetTraceback(value, traceback);
    }
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return value;
}

static inline void
PyErr_SetRaisedException(PyObject *exc)
{
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exc)), exc,
                  PyException_GetTraceback(exc));
}

#include <structmember.h>
#define Py_T_PYSSIZET T_PYSSIZET
#define Py_T_OBJECT_EX T_OBJECT_EX
#define Py_READONLY READONLY
/* Strings made by the old wchar_t API have no compact form until
 * PyUnicode_READY() makes it. */
#define py_unicode_ready(O) PyUnicode_READY(O)
#else
#define py_unicode_ready(O) 0
#endif

#if PY_VERSION_HEX < 0x030D0000
#define PyObject_GetOptionalAttr(O, NAME, RET) \
    _PyObject_LookupAttr((O), (NAME), (RET))
#endif

/* The version as the names of folders spell it: "3.13", or "3.13t" for a
 * free-threaded Python, which has folders of its own. */
#define PYTHON_STRING_(X) #X
#define PYTHON_STRING(X) PYTHON_STRING_(X)
#ifdef Py_GIL_DISABLED
#define PYTHON_ABI_THREAD "t"
#else
#define PYTHON_ABI_THREAD ""
#endif
#define PYTHON_MAJOR PYTHON_STRING(PY_MAJOR_VERSION)
#define PYTHON_MINOR PYTHON_STRING(PY_MINOR_VERSION)
#define PYTHON_X_Y PYTHON_MAJOR "." PYTHON_MINOR PYTHON_ABI_THREAD

/* The first statement of a function that needs the GIL and has callers in other
 * files. */
#define ASSERT_GIL() assert(PyGILState_Check())

/* CLEANUP(py_clear) PyObject *x = ...: the reference is dropped at the end of
 * the scope. */
static inline void
py_clear(PyObject **o)
{
    Py_CLEAR(*o);
}

/* Moves the reference out of *o, so that no cleanup drops it: return
 * py_steal(&x). */
static inline PyObject *
py_steal(PyObject **o)
{
    PyObject *taken = *o;
    *o = NULL;
    return taken;
}

/* PyObject_GetAttr() by a C string, for the request path. CPython caches
 * attribute lookups of a type by the address of the name and keeps the name
 * alive: PyObject_GetAttrString(), which makes a new str for each call, would
 * fill that cache with thousands of them. New reference. */
static inline PyObject *
py_attr(PyObject *o, const char *name)
{
    CLEANUP(py_clear) PyObject *key = PyUnicode_InternFromString(name);

    return key == NULL ? NULL : PyObject_GetAttr(o, key);
}

/* Calls a method in the same way, with one argument, or none for NULL. New
 * reference. */
static inline PyObject *
py_call(PyObject *o, const char *name, PyObject *argument)
{
    CLEANUP(py_clear) PyObject *key = PyUnicode_InternFromString(name);

    return key == NULL ? NULL
                       : PyObject_CallMethodObjArgs(o, key, argument, NULL);
}

#endif
