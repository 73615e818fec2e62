/*
 * python_fork.c - Python before and after fork()
 *
 * Of workers, by the zygote; and of children, by the application.
 */
#include "python/python_fork.h"

#include "os/log.h"
#include "python/finalize.h"
#include "python/python.h"

#include <stdio.h>

/* From python_fork_begin() to the end of the fork; the main thread's. */
static PyGILState_STATE gil;

/* The names of all threads but the current one, such as "Thread-1 (poll),
 * flusher". NULL if there are none, or with an exception. */
static PyObject *
names_of_other_threads(PyObject *threading)
{
    CLEANUP(py_clear)
    PyObject *all = PyObject_CallMethod(threading, "enumerate", NULL);
    CLEANUP(py_clear)
    PyObject *me = PyObject_CallMethod(threading, "current_thread", NULL);
    CLEANUP(py_clear) PyObject *names = PyList_New(0);
    CLEANUP(py_clear) PyObject *comma = PyUnicode_FromString(", ");

    if (all == NULL || me == NULL || names == NULL || comma == NULL ||
        !PyList_Check(all)) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(all); i++) {
        PyObject *t = PyList_GET_ITEM(all, i); /* borrowed */
        CLEANUP(py_clear) PyObject *name = PyObject_GetAttrString(t, "name");
        if (name == NULL || (t != me && PyList_Append(names, name) < 0)) {
            return NULL;
        }
    }
    return PyList_GET_SIZE(names) == 0 ? NULL : PyUnicode_Join(comma, names);
}

static void
warn_about_threads(void)
{
    /* If threading has not been imported there are no threads. */
    CLEANUP(py_clear) PyObject *threading = py_loaded_module("threading");
    CLEANUP(py_clear)
    PyObject *names =
        threading == NULL ? NULL : names_of_other_threads(threading);
    const char *text = names == NULL ? NULL : PyUnicode_AsUTF8(names);

    if (text != NULL) {
        log_warning("--preload: threads that the application started during "
                    "import do not run in the workers (start them at the first "
                    "request, or leave out --preload): %s",
                    text);
    }
    PyErr_Clear();
}

static void
call_gc(const char *name)
{
    CLEANUP(py_clear) PyObject *gc = PyImport_ImportModule("gc");
    CLEANUP(py_clear)
    PyObject *r = gc == NULL ? NULL : PyObject_CallMethod(gc, name, NULL);

    if (r == NULL) {
        PyErr_WriteUnraisable(gc);
    }
}

void
python_fork_prepare(void)
{
    PyGILState_STATE state = PyGILState_Ensure();

    warn_about_threads();
    call_gc("collect");
    finalize_flush(); /* frozen objects could not be found */
    call_gc("freeze");
    PyGILState_Release(state);
}

void
python_fork_begin(void (*flush)(void))
{
    gil = PyGILState_Ensure();
    flush();
    assert(!PyErr_Occurred());
    (void)fflush(NULL);
    PyOS_BeforeFork();
}

void
python_fork_in_parent(void)
{
    ASSERT_ATTACHED();
    PyOS_AfterFork_Parent();
    PyGILState_Release(gil);
}

/* Child processes of multiprocessing belong to the parent. At its end a forked
 * child would terminate them as its own; multiprocessing makes its own children
 * forget them in the same way. */
static void
forget_child_processes(void)
{
    CLEANUP(py_clear)
    PyObject *m = py_loaded_module("multiprocessing.process");
    CLEANUP(py_clear) PyObject *none = m == NULL ? NULL : PySet_New(NULL);

    if (none != NULL && PyObject_SetAttrString(m, "_children", none) < 0) {
        PyErr_WriteUnraisable(m);
    }
    PyErr_Clear();
}

void
python_fork_in_child(void)
{
    PyOS_AfterFork_Child();
    forget_child_processes();
    PyGILState_Release(gil);
}

/* -- children of the application ------------------------------------------- */

/* Makes thread what threading._shutdown() expects of the main thread. */
static int
become_main_thread(PyObject *thread, PyObject *main_type)
{
    CLEANUP(py_clear) PyObject *name = PyUnicode_FromString("MainThread");
    CLEANUP(py_clear) PyObject *set_lock = NULL;
    CLEANUP(py_clear) PyObject *r = NULL;

    if (name == NULL ||
        PyObject_SetAttrString(thread, "__class__", main_type) < 0 ||
        PyObject_SetAttrString(thread, "_name", name) < 0 ||
        PyObject_SetAttrString(thread, "_daemonic", Py_False) < 0) {
        return -1;
    }
    set_lock = PyObject_GetAttrString(thread, "_set_tstate_lock");
    if (set_lock == NULL) {
        PyErr_Clear(); /* later versions have no such lock */
        return 0;
    }
    r = PyObject_CallNoArgs(set_lock);
    return r == NULL ? -1 : 0;
}

/* In a child the thread that forked is the main thread. If threading did not
 * start it, as with a request thread, its object is a _DummyThread, which lacks
 * the lock that threading._shutdown() asserts: children of multiprocessing
 * would end with exit code 1. Later versions of CPython do the same as this. */
static PyObject *
after_fork_in_child(UNUSED PyObject *self, UNUSED PyObject *none)
{
    CLEANUP(py_clear) PyObject *threading = PyImport_ImportModule("threading");
    if (threading == NULL) {
        return NULL;
    }
    CLEANUP(py_clear)
    PyObject *me = PyObject_CallMethod(threading, "main_thread", NULL);
    CLEANUP(py_clear)
    PyObject *dummy = PyObject_GetAttrString(threading, "_DummyThread");
    CLEANUP(py_clear)
    PyObject *main_type = PyObject_GetAttrString(threading, "_MainThread");

    if (me == NULL || dummy == NULL || main_type == NULL ||
        ((PyObject *)Py_TYPE(me) == dummy &&
         become_main_thread(me, main_type) < 0)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef after_in_child_def = {"be_main_thread", after_fork_in_child,
                                         METH_NOARGS, NULL};

int
python_fork_register_hook(void)
{
    ASSERT_ATTACHED();
    CLEANUP(py_clear) PyObject *os = PyImport_ImportModule("posix");
    CLEANUP(py_clear)
    PyObject *hook = PyCFunction_New(&after_in_child_def, NULL);
    CLEANUP(py_clear)
    PyObject *none = PyTuple_New(0);
    CLEANUP(py_clear)
    PyObject *named =
        hook == NULL ? NULL : Py_BuildValue("{sO}", "after_in_child", hook);
    CLEANUP(py_clear)
    PyObject *reg =
        os == NULL ? NULL : PyObject_GetAttrString(os, "register_at_fork");
    CLEANUP(py_clear)
    PyObject *r = reg == NULL || named == NULL || none == NULL
                      ? NULL
                      : PyObject_Call(reg, none, named);

    return r == NULL ? -1 : 0;
}
