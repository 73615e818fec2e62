/*
 * python_signals.c - how Python's signal module shows the program's signals
 *
 * Python calls a callable when its main thread next runs Python code, but ours
 * may wait hours for requests. So it is not enough to install our callable
 * again: the handler in C has to be installed. signal.signal() and everything
 * built on it call _signal.signal, which this file replaces.
 */
#include "python/python_signals.h"

#include "os/log.h"
#include "python/python.h"

#include <signal.h>

enum { SIGNALS_MAX = 16 };

/* The main thread writes this and all variables below, before other threads
 * exist; later they are only read. */
struct known_signal {
    int number;
    /* What Python has for it, kept for ever: a callable, or SIG_IGN. */
    PyObject *replacement;
    void (*restore)(int number);
};
static struct known_signal known[SIGNALS_MAX];
static size_t nknown;
static PyObject *python_signal; /* the original _signal.signal */
static const struct python_signals *program;

static struct known_signal *
find(long number)
{
    for (size_t i = 0; i < nknown; i++) {
        if (known[i].number == number) {
            return &known[i];
        }
    }
    return NULL;
}

/* -- what Python calls ----------------------------------------------------- */

/* Python calls it for a signal that came while Python's own handler was
 * installed; or a handler of the application calls it to pass a signal on. */
static PyObject *
on_python_signal(UNUSED PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    long number = n == 2 ? PyLong_AsLong(args[0]) : -1;

    assert(program != NULL);
    if (PyErr_Occurred()) {
        return NULL;
    }
    for (size_t i = 0; i < program->n; i++) {
        if (program->numbers[i] == number) {
            program->handle(program->numbers[i]);
            Py_RETURN_NONE;
        }
    }
    return PyErr_Format(PyExc_ValueError,
                        "expected (signal, frame) for a signal that wsgi-cgi "
                        "handles");
}

static bool
is_default(PyObject *handler)
{
    return PyLong_Check(handler) && PyObject_IsTrue(handler) == 0;
}

/* signal(signalnum, handler). Never installs SIG_DFL on the way: a signal at
 * that moment would kill the process. */
static PyObject *
on_set(UNUSED PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    const struct known_signal *e = NULL;

    if (n == 2 && PyLong_Check(args[0])) {
        e = find(PyLong_AsLong(args[0]));
        PyErr_Clear(); /* the number is too large: Python says so below */
    }
    if (e == NULL || (args[1] != e->replacement && !is_default(args[1]))) {
        return PyObject_Vectorcall(python_signal, args, (size_t)n, NULL);
    }
    PyObject *const both[] = {args[0], e->replacement};
    PyObject *old = PyObject_Vectorcall(python_signal, both, 2, NULL);
    if (old != NULL) {
        assert(e->restore != NULL);
        e->restore(e->number);
    }
    return old;
}

#define FASTCALL(FN) (PyCFunction)(void (*)(void))(FN), METH_FASTCALL

static PyMethodDef handler_def = {"wsgi_cgi_handler",
                                  FASTCALL(on_python_signal), NULL};
static PyMethodDef set_def = {
    "signal", FASTCALL(on_set),
    "signal(signalnum, handler)\n\n"
    "Set the action for the signal signalnum (an int) and return the\n"
    "previous one, as Python's own function does. For a signal that\n"
    "wsgi-cgi handles, SIG_DFL means what wsgi-cgi does. Raises what\n"
    "Python's own function raises."};

/* -- setting up ------------------------------------------------------------ */

static int
replace_signal(PyObject *module)
{
    CLEANUP(py_clear) PyObject *set = PyCFunction_New(&set_def, NULL);

    if (python_signal != NULL) {
        return 0;
    }
    if (set == NULL) {
        return -1;
    }
    python_signal = PyObject_GetAttrString(module, "signal");
    return python_signal == NULL
               ? -1
               : PyObject_SetAttrString(module, "signal", set);
}

int
python_signals_add(int number, void *callable, void (*restore)(int number))
{
    ASSERT_ATTACHED();
    assert(number > 0 && callable != NULL && restore != NULL);
    CLEANUP(py_clear) PyObject *module = PyImport_ImportModule("_signal");

    if (module == NULL || replace_signal(module) < 0) {
        return -1;
    }
    struct known_signal *e = find(number);
    if (e == NULL) {
        assert(nknown < SIGNALS_MAX);
        e = &known[nknown++];
    }
    *e = (struct known_signal){number, callable, restore};
    return 0;
}

static int
add_ignored(void)
{
    for (size_t i = 0; i < program->nignored; i++) {
        int number = program->ignored[i];
        if (PyOS_getsig(number) != SIG_IGN) {
            continue;
        }
        PyObject *ignore = PyLong_FromLong(1); /* signal.SIG_IGN */
        if (ignore == NULL ||
            python_signals_add(number, ignore, program->restore) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
show_all(void)
{
    CLEANUP(py_clear)
    PyObject *handler = PyCFunction_New(&handler_def, NULL);

    for (size_t i = 0; handler != NULL && i < program->n; i++) {
        int number = program->numbers[i];
        if (python_signals_add(number, handler, program->restore) < 0) {
            return -1;
        }
        CLEANUP(py_clear)
        PyObject *old =
            PyObject_CallFunction(python_signal, "iO", number, handler);
        if (old == NULL) {
            return -1;
        }
        program->restore(number);
    }
    /* Kept for ever: the application may install another handler, which must
     * not free this one. */
    return py_steal(&handler) == NULL ? -1 : 0;
}

int
python_signals_open(const struct python_signals *signals)
{
    PyGILState_STATE gil = PyGILState_Ensure();

    program = signals;
    int r = show_all() < 0 || add_ignored() < 0 ? -1 : 0;
    if (r < 0) {
        PyErr_Print();
        log_error("Python's signal module could not be set up (see above)");
    }
    PyGILState_Release(gil);
    return r;
}
