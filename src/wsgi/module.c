/*
 * module.c - the extension module _wsgi_cgi and its types
 */
#include "wsgi/module.h"

#include "context/error_stream.h"
#include "context/input_stream.h"
#include "context/request_timeout.h"
#include "wsgi/after_response.h"
#include "wsgi/file_wrapper.h"
#include "wsgi/start_response.h"

static const char module_name[] = "_wsgi_cgi";

static int
add_type(PyObject *module, PyObject *(*make)(PyObject *module),
         PyTypeObject **ret_type)
{
    PyObject *type = make(module);

    if (type == NULL) {
        return -1;
    }
    *ret_type = (PyTypeObject *)type;
    return PyModule_AddType(module, *ret_type);
}

static int
module_exec(PyObject *module)
{
    struct module_state *s = PyModule_GetState(module);

    assert(s != NULL);
    if (add_type(module, input_stream_type, &s->input) < 0 ||
        add_type(module, error_stream_type, &s->errors) < 0 ||
        add_type(module, file_wrapper_type, &s->file_wrapper) < 0 ||
        add_type(module, start_response_type, &s->start_response) < 0 ||
        add_type(module, after_response_type, &s->after) < 0 ||
        add_type(module, request_timeout_type, &s->timeout) < 0) {
        return -1;
    }
    s->wsgi_errors = error_stream_new(s->errors, "<wsgi.errors>");
    return s->wsgi_errors == NULL ? -1 : 0;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct module_state *s = PyModule_GetState(module);

    Py_VISIT(s->input);
    Py_VISIT(s->errors);
    Py_VISIT(s->file_wrapper);
    Py_VISIT(s->start_response);
    Py_VISIT(s->after);
    Py_VISIT(s->timeout);
    Py_VISIT(s->wsgi_errors);
    return 0;
}

static int
module_clear(PyObject *module)
{
    struct module_state *s = PyModule_GetState(module);

    Py_CLEAR(s->input);
    Py_CLEAR(s->errors);
    Py_CLEAR(s->file_wrapper);
    Py_CLEAR(s->start_response);
    Py_CLEAR(s->after);
    Py_CLEAR(s->timeout);
    Py_CLEAR(s->wsgi_errors);
    return 0;
}

static void
module_free(void *module)
{
    (void)module_clear(module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030D0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = module_name,
    .m_doc = PyDoc_STR(
        "The types of the objects that wsgi-cgi gives to WSGI applications."),
    .m_size = (Py_ssize_t)sizeof(struct module_state),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

static PyObject *
module_init(void)
{
    return PyModuleDef_Init(&module_def);
}

int
module_register(void)
{
    assert(!Py_IsInitialized());
    return PyImport_AppendInittab(module_name, module_init);
}

struct module_state *
module_get(void)
{
    /* Kept for ever: an application may empty sys.modules. Written at the start,
     * before other threads exist. */
    static PyObject *module;

    ASSERT_ATTACHED();
    if (module == NULL) {
        module = PyImport_ImportModule(module_name);
    }
    return module == NULL ? NULL : PyModule_GetState(module);
}
