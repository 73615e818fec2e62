/*
 * spawn.c - scripts in children that multiprocessing spawns
 *
 * What multiprocessing pickles for a child begins with the name in the __spec__
 * of our __main__, which the child would load again. Ours is a str that is
 * pickled as a call: when the child unpickles it, the scripts become
 * importable, before it reads anything that refers to them. Nothing has to be
 * loaded again: in such a child, __name__ is "__main__" in no script.
 */
#include "app/spawn.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Executed in the child, with `source` (this text) and `scripts` (names and
 * paths) as globals; the child's own children get the same. path_stats() keeps
 * Python from using __pycache__, where app.wsgi would have the same file as
 * app.py. */
static const char child_source[] =
    "import sys\n"
    "from importlib.machinery import ModuleSpec, SourceFileLoader\n"
    "from importlib.util import spec_from_file_location\n"
    "class ScriptLoader(SourceFileLoader):\n"
    "    def path_stats(self, path):\n"
    "        raise OSError\n"
    "class ScriptFinder:\n"
    "    def find_spec(name, path=None, target=None):\n"
    "        file = scripts.get(name)\n"
    "        if file is None:\n"
    "            return None\n"
    "        kind = SourceFileLoader if file.endswith('.py') else "
    "ScriptLoader\n"
    "        return spec_from_file_location(name, file, loader=kind(name, "
    "file))\n"
    "class MainName(str):\n"
    "    def __reduce__(self):\n"
    "        return eval, ('exec(source) or \"__main__\"',\n"
    "                      {'source': source, 'scripts': scripts})\n"
    "sys.meta_path.insert(0, ScriptFinder)\n"
    "sys.modules['__main__'].__spec__ = ModuleSpec(MainName('__main__'), "
    "None)\n";

/* Written once, by the first thread that loads a script, under the GIL or,
 * without one, under scripts_lock. The dict protects itself. */
static PyObject *scripts; /* dict: module name to path */
static struct py_lock scripts_lock;
static atomic_bool is_open; /* multiprocessing knows of the dict */

/* Returns (eval, (expression, globals)). The expression's value is the name
 * "__main__", for which multiprocessing does nothing. */
static PyObject *
name_reduce(UNUSED PyObject *self, UNUSED PyObject *none)
{
    CLEANUP(py_clear) PyObject *eval = NULL;
    int has = PyDict_GetItemStringRef(PyEval_GetBuiltins(), "eval", &eval);
    CLEANUP(py_clear) PyObject *now = has <= 0 ? NULL : PyDict_Copy(scripts);

    if (has <= 0 || now == NULL) {
        return has == 0 ? PyErr_Format(PyExc_NameError, "eval") : NULL;
    }
    return Py_BuildValue("O(s{sssO})", eval, "exec(source) or '__main__'",
                         "source", child_source, "scripts", now);
}

static PyMethodDef name_methods[] = {
    {"__reduce__", name_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot name_slots[] = {
    {Py_tp_methods, name_methods},
    {0, NULL},
};

static PyType_Spec name_spec = {
    .name = "_wsgi_cgi.MainName",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = name_slots,
};

static PyObject *
make_spec(void)
{
    CLEANUP(py_clear)
    PyObject *bases = PyTuple_Pack(1, (PyObject *)&PyUnicode_Type);
    CLEANUP(py_clear)
    PyObject *type =
        bases == NULL ? NULL : PyType_FromSpecWithBases(&name_spec, bases);
    CLEANUP(py_clear)
    PyObject *name =
        type == NULL ? NULL : PyObject_CallFunction(type, "s", "__main__");
    CLEANUP(py_clear)
    PyObject *importlib = PyImport_ImportModule("_frozen_importlib");

    return name == NULL || importlib == NULL
               ? NULL
               : PyObject_CallMethod(importlib, "ModuleSpec", "OO", name,
                                     Py_None);
}

/* Sets the __spec__ of __main__. If two threads do that at once, either spec
 * will do. */
static int
show_scripts(void)
{
    CLEANUP(py_clear) PyObject *spec = make_spec();
    CLEANUP(py_clear)
    PyObject *main_module = PyImport_AddModuleRef("__main__");

    return spec == NULL || main_module == NULL
               ? -1
               : PyObject_SetAttrString(main_module, "__spec__", spec);
}

/* Creates the dict, before anything refers to it. */
static int
open_scripts(void)
{
    CLEANUP(py_clear) PyObject *new = PyDict_New();

    if (new == NULL) {
        return -1;
    }
    py_lock(&scripts_lock);
    if (scripts == NULL) {
        scripts = py_steal(&new);
    }
    py_unlock(&scripts_lock);
    if (show_scripts() < 0) {
        return -1;
    }
    atomic_store(&is_open, true);
    return 0;
}

int
spawn_add_script(PyObject *name, PyObject *path)
{
    ASSERT_ATTACHED();
    assert(PyUnicode_Check(name) && PyUnicode_Check(path));
    if (!atomic_load(&is_open) && open_scripts() < 0) {
        return -1;
    }
    return PyDict_SetItem(scripts, name, path);
}
