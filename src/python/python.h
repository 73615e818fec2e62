/*
 * python.h - <Python.h>, and what CPython 3.9 to 3.14 spell differently
 *
 * What:      the only include of <Python.h>: gives earlier versions the names
 *            of later ones; adds scope cleanup for references.
 * Threads:   any.
 * GIL:       held, for everything. What headers say of the GIL is meant for a
 *            free-threaded Python, too: "held" means that the thread has an
 *            attached thread state. Other threads may have one as well then, so
 *            each header also says what protects the data where there is no
 *            GIL.
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

/* 1 with a new reference, 0 if the key is missing, -1 with an exception. */
static inline int
PyDict_GetItemRef(PyObject *dict, PyObject *key, PyObject **ret)
{
    *ret = Py_XNewRef(PyDict_GetItemWithError(dict, key));
    return *ret != NULL ? 1 : PyErr_Occurred() ? -1 : 0;
}

static inline int
PyDict_GetItemStringRef(PyObject *dict, const char *key, PyObject **ret)
{
    PyObject *name = PyUnicode_FromString(key);
    int r = -1;

    *ret = NULL;
    if (name != NULL) {
        r = PyDict_GetItemRef(dict, name, ret);
        Py_DECREF(name);
    }
    return r;
}

static inline PyObject *
PyImport_AddModuleRef(const char *name)
{
    return Py_XNewRef(PyImport_AddModule(name));
}

/* New reference, or NULL with an exception. */
static inline PyObject *
PyList_GetItemRef(PyObject *list, Py_ssize_t i)
{
    return Py_XNewRef(PyList_GetItem(list, i));
}

/* Nothing runs between two lines of C while the GIL is held. */
#define Py_BEGIN_CRITICAL_SECTION(O) {
#define Py_END_CRITICAL_SECTION() }
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

/* Protects data of ours that the GIL protects, where there is a GIL: there it is
 * nothing. On a free-threaded Python it is a lock. A thread that waits for it is
 * detached from Python meanwhile, so it may run Python code inside, but must
 * not come back to the same lock. All zero is a lock that is free. */
struct py_lock {
#ifdef Py_GIL_DISABLED
    PyMutex mutex;
#else
    char unused;
#endif
};

static inline void
py_lock(struct py_lock *lock)
{
#ifdef Py_GIL_DISABLED
    PyMutex_Lock(&lock->mutex);
#else
    (void)lock;
#endif
}

static inline void
py_unlock(struct py_lock *lock)
{
#ifdef Py_GIL_DISABLED
    PyMutex_Unlock(&lock->mutex);
#else
    (void)lock;
#endif
}

/* The attribute of the module sys; NULL without an exception if there is none.
 * New reference: PySys_GetObject() gives a borrowed one, which another thread
 * of a free-threaded Python may drop. */
static inline PyObject *
py_sys_attr(const char *name)
{
#ifndef Py_GIL_DISABLED
    return Py_XNewRef(PySys_GetObject(name));
#else
    PyObject *sys = PyImport_ImportModule("sys");
    PyObject *value = sys == NULL ? NULL : PyObject_GetAttrString(sys, name);

    Py_XDECREF(sys);
    if (value == NULL) {
        PyErr_Clear();
    }
    return value;
#endif
}

/* A module that is in sys.modules already; NULL without an exception for any
 * other. Does not wait while another thread imports it. New reference. */
static inline PyObject *
py_loaded_module(const char *name)
{
    PyObject *module;

    if (PyDict_GetItemStringRef(PyImport_GetModuleDict(), name, &module) < 0) {
        PyErr_Clear();
    }
    return module;
}

/* The first statement of a function that needs an attached thread state and has
 * callers in other files. With a GIL, such a thread holds it; without one, others
 * are attached at the same time. */
#define ASSERT_ATTACHED() assert(PyGILState_Check())

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
