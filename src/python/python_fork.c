/*
 * python_fork.c - Python around a fork(): of workers by the zygote, and of children by
 * the application
 */
#include "python/python_fork.h"

#include "os/log.h"
#include "python/finalize.h"
#include "python/python.h"

#include <stdio.h>

static PyGILState_STATE gil;

/* "Thread-1 (poll), flusher": all but the current one; NULL is none, or an
 * exception. */
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
    /* Borrowed; nobody has imported it: there are no threads. */
    PyObject *threading =
        PyDict_GetItemString(PyImport_GetModuleDict(), "threading");
    CLEANUP(py_clear)
    PyObject *names =
        threading == NULL ? NULL : names_of_other_threads(threading);
    const char *text = names == NULL ? NULL : PyUnicode_AsUTF8(names);

    if (text != NULL) {
        log_warning("--preload: threads that the application has started while "
                    "it was imported do not run in the workers: %s",
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
    finalize_flush(); /* frozen objects would not be found any more */
    call_gc("freeze");
    PyGILState_Release(state);
}

void
python_fork_begin(void (*flush)(void))
{
    gil = PyGILState_Ensure();
    flush();
    (void)fflush(NULL);
    PyOS_BeforeFork();
}

void
python_fork_in_parent(void)
{
    PyOS_AfterFork_Parent();
    PyGILState_Release(gil);
}

/* Processes that multiprocessing has started are the parent's. At its end a child
 * would terminate them as its own; multiprocessing lets its own children forget
 * them in this way, too. */
static void
forget_child_processes(void)
{
    PyObject *m = /* borrowed */
        PyDict_GetItemString(PyImport_GetModuleDict(),
                             "multiprocessing.process");
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

/* -- children of the application ------------------------------------------------ */

/* What threading makes of a main thread, as far as its end looks at it. */
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
        PyErr_Clear(); /* a version that has no such lock */
        return 0;
    }
    r = PyObject_CallNoArgs(set_lock);
    return r == NULL ? -1 : 0;
}

/* In a child the thread that forked is the main thread. Where threading had not
 * started it, as a request thread of ours, its object is one of _DummyThread,
 * which lacks the lock that threading._shutdown() asserts to be there:
 * multiprocessing's children then end with exit code 1. Later versions of
 * CPython do what is done here themselves. */
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
    ASSERT_GIL();
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
