/*
 * gil_state.c - whether the threads of this process take turns in Python
 *
 * CPython says what turns its GIL on by a RuntimeWarning, which filters can
 * hide, turn into an exception, or send elsewhere, and which names no file of
 * ours. So the two functions that load modules written in C, create_dynamic()
 * and create_builtin() of _imp, are replaced by ones that look at the GIL
 * afterwards. CPython's own warning is left to those who have asked for
 * warnings of its kind, by a filter; nobody else sees it a second time.
 */
#include "python/gil_state.h"

#include "os/log.h"
#include "python/python.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef Py_GIL_DISABLED

static struct {
    atomic_bool is_known; /* Python has started */
    atomic_bool is_on;
    bool is_quiet;          /* before other threads exist */
    struct gil_share share; /* before other threads exist */
    PyObject *ask;          /* sys._is_gil_enabled; kept for ever */
} state;

/* CPython turns the GIL on for the time of each load. So only when no load is
 * under way, is a GIL that is on there to stay. */
static struct {
    struct py_lock lock;
    unsigned n; /* under way */
    /* The names of modules that may have turned it on, since there was no load
     * under way; NULL = none. */
    PyObject *suspects;
} loads;

bool
gil_state_is_free_threaded(void)
{
    return true;
}

bool
gil_state_is_on(void)
{
    if (atomic_load(&state.is_known)) {
        return atomic_load(&state.is_on);
    }
    const char *asked = getenv("PYTHON_GIL");
    return asked != NULL && strcmp(asked, "1") == 0;
}

const char *
gil_state_text(void)
{
    return gil_state_is_on() ? ", free-threaded, GIL on"
                             : ", free-threaded, GIL off";
}

void
gil_state_share(const struct gil_share *share)
{
    state.share = *share;
    atomic_store(share->is_on, gil_state_is_on());
}

void
gil_state_be_quiet(void)
{
    state.is_quiet = true;
}

static void
set_on(bool is_on)
{
    atomic_store(&state.is_on, is_on);
    atomic_store(&state.is_known, true);
    if (state.share.is_on != NULL) {
        atomic_store(state.share.is_on, is_on);
    }
}

/* Of the workers with the same code, one says so. */
static bool
is_first_to_say(void)
{
    const struct gil_share *s = &state.share;

    return s->logged == NULL ||
           atomic_exchange(s->logged, s->generation) != s->generation;
}

static void
say(const char *which)
{
    if (state.is_quiet || !is_first_to_say()) {
        return;
    }
    Py_BEGIN_ALLOW_THREADS /* the log may be slow */
        log_warning("%s turned the GIL on, because it does not declare that it "
                    "can run without: threads take turns from now on; use a "
                    "version of it for free-threaded Python, or --processes",
                    which);
    Py_END_ALLOW_THREADS
}

/* -1 with an exception. */
static int
ask_python(void)
{
    CLEANUP(py_clear) PyObject *r = PyObject_CallNoArgs(state.ask);

    return r == NULL ? -1 : PyObject_IsTrue(r);
}

/* -- loads ----------------------------------------------------------------- */

/* False where the module may have turned the GIL on. A module of the old kind,
 * without slots, may also have declared it in another way. */
static bool
declares(PyObject *module)
{
    const PyModuleDef *def = module != NULL && PyModule_Check(module)
                                 ? PyModule_GetDef(module)
                                 : NULL;
    const PyModuleDef_Slot *slot = def == NULL ? NULL : def->m_slots;

    for (; slot != NULL && slot->slot != 0; slot++) {
        if (slot->slot == Py_mod_gil) {
            return slot->value == Py_MOD_GIL_NOT_USED;
        }
    }
    return false;
}

/* The loaded module's name, or NULL with an exception. */
static PyObject *
name_of(PyObject *spec)
{
    PyObject *name = PyObject_GetAttrString(spec, "name");

    if (name != NULL && !PyUnicode_Check(name)) {
        Py_CLEAR(name);
        PyErr_SetString(PyExc_TypeError, "the name of a spec is not a str");
    }
    return name;
}

/* Under the lock; what it calls runs no code of the application. */
static void
add_suspect(PyObject *name)
{
    if (loads.suspects == NULL) {
        loads.suspects = PyList_New(0);
    }
    if (loads.suspects == NULL || PyList_Append(loads.suspects, name) < 0) {
        PyErr_Clear();
    }
}

static void
say_who(PyObject *suspects)
{
    CLEANUP(py_clear) PyObject *comma = PyUnicode_FromString(", ");
    CLEANUP(py_clear)
    PyObject *names = suspects == NULL || comma == NULL
                          ? NULL
                          : PyUnicode_Join(comma, suspects);
    const char *text = names == NULL ? NULL : PyUnicode_AsUTF8(names);
    bool is_one = suspects != NULL && PyList_GET_SIZE(suspects) == 1;
    char which[512];

    (void)snprintf(which, sizeof which,
                   is_one ? "the extension module %s has"
                          : "one of the extension modules %s has",
                   text != NULL ? text : "?");
    PyErr_Clear();
    say(which);
}

static void
begin_load(void)
{
    py_lock(&loads.lock);
    loads.n++;
    py_unlock(&loads.lock);
}

/* No exception is set, before and after. */
static void
end_load(PyObject *spec, PyObject *module)
{
    CLEANUP(py_clear)
    PyObject *name = spec == NULL || declares(module) ? NULL : name_of(spec);
    CLEANUP(py_clear) PyObject *suspects = NULL;
    int is_on = 0;

    PyErr_Clear();
    py_lock(&loads.lock);
    if (name != NULL) {
        add_suspect(name);
    }
    if (--loads.n == 0) {
        suspects = py_steal(&loads.suspects);
        is_on = ask_python();
    }
    py_unlock(&loads.lock);
    PyErr_Clear();
    if (is_on > 0 && !atomic_exchange(&state.is_on, true)) {
        set_on(true);
        say_who(suspects);
    }
}

/* Once for each function that it replaces, which is its self. */
static PyObject *
on_create(PyObject *original, PyObject *const *args, Py_ssize_t n)
{
    if (atomic_load(&state.is_on)) {
        return PyObject_Vectorcall(original, args, (size_t)n, NULL);
    }
    begin_load();
    PyObject *module = PyObject_Vectorcall(original, args, (size_t)n, NULL);
    PyObject *raised = PyErr_GetRaisedException();
    end_load(n > 0 ? args[0] : NULL, module);
    PyErr_SetRaisedException(raised);
    return module;
}

/* -- setting up ------------------------------------------------------------ */

static const char text_of_warning[] = "The global interpreter lock (GIL) has "
                                      "been enabled to load module";

/* match() of the filter: CPython's warning begins with that text. */
static PyObject *
on_match(UNUSED PyObject *self, PyObject *text)
{
    const char *s = PyUnicode_Check(text) ? PyUnicode_AsUTF8(text) : NULL;

    PyErr_Clear();
    return PyBool_FromLong(
        s != NULL && strncmp(s, text_of_warning, strlen(text_of_warning)) == 0);
}

/* Puts it behind all filters, so that those of the application and of
 * PYTHONWARNINGS come first: one that makes RuntimeWarning an error still does.
 * A filter wants an object with match(), such as a pattern of re, whose import
 * would take longer than all the rest. */
static int
add_filter(void)
{
    static PyMethodDef match_def = {"match", on_match, METH_O, NULL};
    CLEANUP(py_clear) PyObject *warnings = PyImport_ImportModule("_warnings");
    CLEANUP(py_clear)
    PyObject *filters =
        warnings == NULL ? NULL : PyObject_GetAttrString(warnings, "filters");
    CLEANUP(py_clear) PyObject *pattern = PyModule_New("wsgi_cgi_gil_warning");
    CLEANUP(py_clear) PyObject *match = PyCFunction_New(&match_def, NULL);

    if (filters == NULL || pattern == NULL || match == NULL ||
        PyObject_SetAttrString(pattern, "match", match) < 0) {
        return -1;
    }
    CLEANUP(py_clear)
    PyObject *filter = Py_BuildValue("(sOOOi)", "ignore", pattern,
                                     PyExc_RuntimeWarning, Py_None, 0);
    return filter == NULL || !PyList_Check(filters)
               ? -1
               : PyList_Append(filters, filter);
}

#define FASTCALL(FN) (PyCFunction)(void (*)(void))(FN), METH_FASTCALL

/* Replaces a function of the module by one that calls it. */
static int
replace(PyObject *module, PyMethodDef *def)
{
    CLEANUP(py_clear)
    PyObject *original = PyObject_GetAttrString(module, def->ml_name);
    CLEANUP(py_clear)
    PyObject *ours = original == NULL ? NULL : PyCFunction_New(def, original);

    return ours == NULL ? -1
                        : PyObject_SetAttrString(module, def->ml_name, ours);
}

static int
watch_loads(void)
{
    static PyMethodDef dynamic_def = {"create_dynamic", FASTCALL(on_create),
                                      NULL};
    static PyMethodDef builtin_def = {"create_builtin", FASTCALL(on_create),
                                      NULL};
    CLEANUP(py_clear) PyObject *imp = PyImport_ImportModule("_imp");

    return imp == NULL || replace(imp, &dynamic_def) < 0 ||
                   replace(imp, &builtin_def) < 0
               ? -1
               : add_filter();
}

/* sys.flags.gil is None where Python decides. */
static bool
may_change(void)
{
    CLEANUP(py_clear) PyObject *flags = py_sys_attr("flags");
    CLEANUP(py_clear)
    PyObject *gil = flags == NULL ? NULL : PyObject_GetAttrString(flags, "gil");

    PyErr_Clear();
    return gil == NULL || gil == Py_None;
}

int
gil_state_open(void)
{
    CLEANUP(py_clear) PyObject *sys = PyImport_ImportModule("sys");

    state.ask =
        sys == NULL ? NULL : PyObject_GetAttrString(sys, "_is_gil_enabled");
    int is_on = state.ask == NULL ? -1 : ask_python();
    if (is_on < 0) {
        return -1;
    }
    set_on(is_on);
    if (!may_change()) {
        return 0;
    }
    if (is_on) {
        say("an extension module that Python loads at its start (a .pth file, "
            "sitecustomize) has");
        return 0;
    }
    return watch_loads();
}

#else

bool
gil_state_is_free_threaded(void)
{
    return false;
}

bool
gil_state_is_on(void)
{
    return true;
}

const char *
gil_state_text(void)
{
    return "";
}

void
gil_state_share(const struct gil_share *share)
{
    atomic_store(share->is_on, true);
}

void
gil_state_be_quiet(void)
{
}

int
gil_state_open(void)
{
    return 0;
}

#endif
