/*
 * callable.c - whether a WSGI server can call an object
 *
 * PEP 3333 says that a server calls the application and must not inspect it. So
 * nothing is refused that might work with two arguments.
 *
 * This is C and does not use inspect.signature(), because importing inspect
 * costs nearly as much as a whole CGI request of a small application (37 of 44
 * million instructions).
 */
#include "app/callable.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ANY_NUMBER PY_SSIZE_T_MAX
#define WSGI_ARGUMENTS 2 /* environ, start_response */
#define ASGI_ARGUMENTS 3 /* scope, receive, send */

/* What is known about calling an object. */
struct signature {
    Py_ssize_t min, max; /* positional arguments */
    bool is_async;       /* async def */
    bool has_response;   /* of a class: its objects may be iterable */
    bool needs_keyword;  /* a keyword argument without a default */
    bool has_scope;      /* the first parameter has ASGI's name */
    /* the call creates an object of this class; borrowed */
    const PyTypeObject *cls;
};

/* -- functions ------------------------------------------------------------- */

/* True if parameter i has no entry in defaults, a dict or NULL. */
static bool
lacks_default(PyObject *names, Py_ssize_t i, PyObject *defaults)
{
    return i < PyTuple_GET_SIZE(names) &&
           (defaults == NULL || !PyDict_Check(defaults) ||
            PyDict_Contains(defaults, PyTuple_GET_ITEM(names, i)) <= 0);
}

static void
read_names(PyObject *function, Py_ssize_t bound, struct signature *s)
{
    const PyCodeObject *code =
        (const PyCodeObject *)PyFunction_GET_CODE(function);
    CLEANUP(py_clear)
    PyObject *names =
        PyObject_GetAttrString(PyFunction_GET_CODE(function), "co_varnames");
    if (names == NULL || !PyTuple_Check(names)) {
        PyErr_Clear();
        return;
    }
    CLEANUP(py_clear) PyObject *defaults = NULL;
    Py_BEGIN_CRITICAL_SECTION(function);
    defaults = Py_XNewRef(PyFunction_GET_KW_DEFAULTS(function));
    Py_END_CRITICAL_SECTION();
    for (Py_ssize_t i = 0; i < code->co_kwonlyargcount; i++) {
        s->needs_keyword =
            s->needs_keyword ||
            lacks_default(names, code->co_argcount + i, defaults);
    }
    if (bound < code->co_argcount) {
        s->has_scope = PyUnicode_CompareWithASCIIString(
                           PyTuple_GET_ITEM(names, bound), "scope") == 0;
    }
    PyErr_Clear();
}

/* bound: how many arguments Python passes itself, such as self. */
static void
read_function(PyObject *function, Py_ssize_t bound, struct signature *s)
{
    const PyCodeObject *code =
        (const PyCodeObject *)PyFunction_GET_CODE(function);
    CLEANUP(py_clear) PyObject *defaults = NULL;
    Py_BEGIN_CRITICAL_SECTION(function);
    defaults = Py_XNewRef(PyFunction_GET_DEFAULTS(function));
    Py_END_CRITICAL_SECTION();
    Py_ssize_t named =
        code->co_argcount > bound ? code->co_argcount - bound : 0;
    Py_ssize_t optional = defaults == NULL ? 0 : PyTuple_GET_SIZE(defaults);

    assert(bound == 0 || bound == 1);

    s->min = named > optional ? named - optional : 0;
    s->max = (code->co_flags & CO_VARARGS) != 0 ? ANY_NUMBER : named;
    s->is_async = (code->co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR)) != 0;
    /* Not needed for an ordinary application. */
    if (s->min != WSGI_ARGUMENTS || s->is_async ||
        code->co_kwonlyargcount > 0) {
        read_names(function, bound, s);
    }
}

/* Reads a member of a class. of_static: how many arguments Python passes itself
 * to a static method, as __new__ always is. */
static bool
read_member(PyObject *member, Py_ssize_t of_static, struct signature *s)
{
    Py_ssize_t bound = 1;
    CLEANUP(py_clear) PyObject *function = NULL;

    if (Py_TYPE(member) == &PyStaticMethod_Type ||
        Py_TYPE(member) == &PyClassMethod_Type) {
        bound = Py_TYPE(member) == &PyStaticMethod_Type ? of_static : 1;
        function = PyObject_GetAttrString(member, "__func__");
        PyErr_Clear();
    }
    else {
        function = Py_NewRef(member);
    }
    if (function == NULL || !PyFunction_Check(function)) {
        return false;
    }
    read_function(function, bound, s);
    return true;
}

/* -- objects and classes --------------------------------------------------- */

/* New reference, or NULL. */
static PyObject *
mro_of(const PyTypeObject *type)
{
#ifdef Py_GIL_DISABLED
    /* another thread may set __bases__ */
    PyObject *mro =
        PyObject_GetAttrString((PyObject *)(uintptr_t)type, "__mro__");

    PyErr_Clear();
    if (mro != NULL && !PyTuple_Check(mro)) {
        Py_CLEAR(mro);
    }
    return mro;
#else
    return Py_XNewRef(type->tp_mro);
#endif
}

/* The member as a class statement has defined it: new reference. NULL if there
 * is none, or if a base class in C could define it first. */
static PyObject *
find_member(const PyTypeObject *type, const char *name)
{
    CLEANUP(py_clear) PyObject *mro = mro_of(type);

    for (Py_ssize_t i = 0; mro != NULL && i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *t = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        if (!PyType_HasFeature(t, Py_TPFLAGS_HEAPTYPE)) {
            return NULL;
        }
        PyObject *found;
        if (PyDict_GetItemStringRef(t->tp_dict, name, &found) > 0) {
            return found;
        }
        PyErr_Clear();
    }
    return NULL;
}

static bool
object_signature(PyObject *o, struct signature *s)
{
    CLEANUP(py_clear) PyObject *call = find_member(Py_TYPE(o), "__call__");
    return call != NULL && read_member(call, 0, s);
}

static bool
is_iterable(const PyTypeObject *type)
{
    return type->tp_iter != NULL || (type->tp_as_sequence != NULL &&
                                     type->tp_as_sequence->sq_item != NULL);
}

static bool
class_signature(PyObject *o, struct signature *s)
{
    const PyTypeObject *type = (const PyTypeObject *)o;
    CLEANUP(py_clear) PyObject *make = find_member(type, "__new__");
    CLEANUP(py_clear) PyObject *init = find_member(type, "__init__");

    if (Py_TYPE(o)->tp_call != PyType_Type.tp_call) {
        return false; /* the metaclass may do anything */
    }
    if (make != NULL) { /* it may return anything */
        if (!read_member(make, 1, s)) {
            return false;
        }
        s->has_response = true;
    }
    else {
        if (type->tp_new != PyBaseObject_Type.tp_new ||
            (init == NULL && type->tp_init != PyBaseObject_Type.tp_init) ||
            (init != NULL && !read_member(init, 0, s))) {
            return false;
        }
        s->has_response = is_iterable(type);
    }
    s->is_async = false;
    s->cls = type;
    return true;
}

/* Any callable but functools.partial. False if nothing is known. */
static bool
direct_signature(PyObject *o, struct signature *ret)
{
    if (PyFunction_Check(o)) {
        read_function(o, 0, ret);
        return true;
    }
    if (PyMethod_Check(o)) {
        if (!PyFunction_Check(PyMethod_GET_FUNCTION(o))) {
            return false;
        }
        read_function(PyMethod_GET_FUNCTION(o), 1, ret);
        return true;
    }
    return PyType_Check(o) ? class_signature(o, ret) : object_signature(o, ret);
}

/* -- functools.partial ----------------------------------------------------- */

/* 3.14's functools.Placeholder stands for an argument that is still missing. */
static bool
has_placeholder(PyObject *args)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); i++) {
        const char *name = Py_TYPE(PyTuple_GET_ITEM(args, i))->tp_name;
        if (strstr(name, "_PlaceholderType") != NULL) {
            return true;
        }
    }
    return false;
}

/* functools flattens a partial of a partial; of one that it did not, nothing is
 * known. */
static bool
partial_signature(PyObject *o, struct signature *s)
{
    CLEANUP(py_clear) PyObject *func = PyObject_GetAttrString(o, "func");
    CLEANUP(py_clear) PyObject *args = PyObject_GetAttrString(o, "args");
    CLEANUP(py_clear) PyObject *named = PyObject_GetAttrString(o, "keywords");

    PyErr_Clear();
    if (func == NULL || args == NULL || !PyTuple_Check(args) || named == NULL ||
        !PyDict_Check(named) || !direct_signature(func, s)) {
        return false;
    }
    Py_ssize_t given = PyTuple_GET_SIZE(args);
    if (given > 0 && has_placeholder(args)) {
        return s->is_async;
    }
    s->min = s->min > given ? s->min - given : 0;
    s->max = s->max == ANY_NUMBER ? ANY_NUMBER
             : s->max > given     ? s->max - given
                                  : 0;
    if (PyDict_Size(named) > 0) { /* they may name any of the parameters */
        s->min = 0;
        s->needs_keyword = false;
    }
    s->has_scope = s->has_scope && given == 0;
    return true;
}

/* Fills in what is known about calling o. False if nothing is. */
static bool
find_signature(PyObject *o, struct signature *ret)
{
    /* By name, since a subclass may have its own __call__. */
    return strcmp(Py_TYPE(o)->tp_name, "functools.partial") == 0
               ? partial_signature(o, ret)
               : direct_signature(o, ret);
}

/* -- what to say ----------------------------------------------------------- */

#define ADAPTER "a2wsgi.ASGIMiddleware"
#define INSTALL " (pip install a2wsgi)"
#define TWO "a WSGI server gives two, environ and start_response"

static int
refuse_asgi(const char *where, const char *name, const char *more)
{
    PyErr_Format(PyExc_TypeError,
                 "%s: %s is an ASGI application, not a WSGI one: serve "
                 "application = " ADAPTER "(%s%s) instead" INSTALL,
                 where, name, name, more);
    return -1;
}

static int
refuse_asgi_2(const char *where, const char *name)
{
    PyErr_Format(PyExc_TypeError,
                 "%s: %s is an ASGI 2 application, not a WSGI one: serve "
                 "application = " ADAPTER
                 "(asgiref.compatibility.guarantee_single_callable(%s)) "
                 "instead" INSTALL,
                 where, name, name);
    return -1;
}

static int
refuse_arguments(const struct signature *s, const char *where, const char *name)
{
    if (s->max == 0) {
        PyErr_Format(PyExc_TypeError,
                     "%s: %s takes no arguments, but " TWO
                     "; a factory is written with its arguments, as %s()",
                     where, name, name);
    }
    else if (s->max < WSGI_ARGUMENTS) {
        PyErr_Format(PyExc_TypeError,
                     "%s: %s takes one argument, but " TWO
                     "; a factory is written with its arguments, as %s(%s)",
                     where, name, name, s->min == 0 ? "" : "...");
    }
    else if (s->min > WSGI_ARGUMENTS) {
        PyErr_Format(PyExc_TypeError, "%s: %s needs %zd arguments, but " TWO,
                     where, name, s->min);
    }
    else {
        PyErr_Format(PyExc_TypeError,
                     "%s: %s needs a keyword argument, but " TWO, where, name);
    }
    return -1;
}

static bool
is_called_with_two(const struct signature *s)
{
    return s->min <= WSGI_ARGUMENTS && s->max >= WSGI_ARGUMENTS &&
           !s->needs_keyword;
}

static int
check_function(const struct signature *s, const char *where, const char *name)
{
    bool takes_three = s->min <= ASGI_ARGUMENTS && s->max >= ASGI_ARGUMENTS;

    if (s->is_async && !takes_three) {
        PyErr_Format(PyExc_TypeError,
                     "%s: %s is an async function, which WSGI cannot call",
                     where, name);
        return -1;
    }
    if (s->is_async) {
        return refuse_asgi(where, name, "");
    }
    if (is_called_with_two(s)) {
        return 0;
    }
    if (s->has_scope && takes_three) {
        return refuse_asgi(where, name, "");
    }
    return s->has_scope && s->max == 1 ? refuse_asgi_2(where, name)
                                       : refuse_arguments(s, where, name);
}

/* The class makes ASGI applications, or is itself an ASGI 2 one, or is none. */
static int
refuse_class(const struct signature *s, const char *where, const char *name)
{
    struct signature call = {.cls = NULL};

    assert(s->cls != NULL);
    CLEANUP(py_clear) PyObject *member = find_member(s->cls, "__call__");

    if (member != NULL && read_member(member, 0, &call) && call.is_async) {
        return call.max >= ASGI_ARGUMENTS
                   ? refuse_asgi(where, name, s->min == 0 ? "()" : "(...)")
                   : refuse_asgi_2(where, name);
    }
    if (!is_called_with_two(s)) {
        PyErr_Format(PyExc_TypeError,
                     "%s: %s is a class that cannot be called with two "
                     "arguments, environ and start_response; an object of it "
                     "is made by %s(%s)",
                     where, name, name, s->min == 0 ? "" : "...");
        return -1;
    }
    PyErr_Format(PyExc_TypeError,
                 "%s: %s is a class whose objects cannot be a response, since "
                 "they are not iterable; is one of them the application?",
                 where, name);
    return -1;
}

static int
check_class(const struct signature *s, const char *where, const char *name)
{
    return is_called_with_two(s) && s->has_response
               ? 0
               : refuse_class(s, where, name);
}

/* Otherwise Python would warn that it was never awaited. */
static void
close_coroutine(PyObject *o)
{
    CLEANUP(py_clear) PyObject *r = PyObject_CallMethod(o, "close", NULL);

    (void)r;
    PyErr_Clear();
}

static int
refuse_object(PyObject *o, const char *where, const char *name)
{
    if (PyModule_Check(o)) {
        CLEANUP(py_clear) PyObject *its = PyModule_GetNameObject(o);
        PyErr_Clear();
        PyErr_Format(PyExc_TypeError,
                     "%s: %s is a module, not a callable: name the callable in "
                     "it, as in %V:NAME",
                     where, name, its, name);
    }
    else if (PyCoro_CheckExact(o)) {
        close_coroutine(o);
        PyErr_Format(PyExc_TypeError,
                     "%s: %s is a coroutine: a factory must not be an async "
                     "function",
                     where, name);
    }
    else {
        PyErr_Format(PyExc_TypeError, "%s: %s is a %s, not a callable", where,
                     name, Py_TYPE(o)->tp_name);
    }
    return -1;
}

/* django-admin makes asgi.py and wsgi.py, so no adapter is needed. */
static bool
is_djangos_asgi(PyObject *o)
{
    CLEANUP(py_clear)
    PyObject *module = py_attr((PyObject *)Py_TYPE(o), "__module__");
    PyErr_Clear();
    return module != NULL && PyUnicode_Check(module) &&
           PyUnicode_CompareWithASCIIString(module,
                                            "django.core.handlers.asgi") == 0;
}

int
callable_check(PyObject *o, const char *where, const char *name)
{
    struct signature s = {.cls = NULL};

    ASSERT_ATTACHED();
    assert(!PyErr_Occurred());
    if (!PyCallable_Check(o)) {
        return refuse_object(o, where, name);
    }
    if (is_djangos_asgi(o)) {
        PyErr_Format(PyExc_TypeError,
                     "%s: %s is Django's ASGI application: give the wsgi.py "
                     "that is beside asgi.py instead",
                     where, name);
        return -1;
    }
    if (!find_signature(o, &s)) {
        return 0;
    }
    return s.cls != NULL ? check_class(&s, where, name)
                         : check_function(&s, where, name);
}

/* True for a function that the module itself defines, with the parameters of an
 * application. */
static bool
is_likely(PyObject *name, PyObject *o, PyObject *module_name)
{
    struct signature s = {.cls = NULL};

    if (!PyUnicode_Check(name) || !PyFunction_Check(o)) {
        return false;
    }
    CLEANUP(py_clear) PyObject *home = py_attr(o, "__module__");
    CLEANUP(py_clear)
    PyObject *names = py_attr(PyFunction_GET_CODE(o), "co_varnames");
    PyErr_Clear();
    read_function(o, 0, &s);
    if (home == NULL ||
        PyObject_RichCompareBool(home, module_name, Py_EQ) != 1 || s.is_async ||
        s.min != WSGI_ARGUMENTS || s.needs_keyword || names == NULL ||
        !PyTuple_Check(names) || PyTuple_GET_SIZE(names) < 1) {
        PyErr_Clear();
        return false;
    }
    const char *first = PyUnicode_AsUTF8(PyTuple_GET_ITEM(names, 0));
    PyErr_Clear();
    return first != NULL && strncmp(first, "env", 3) == 0;
}

PyObject *
callable_of(PyObject *module)
{
    static const char *const usual[] = {"application", "app"};
    CLEANUP(py_clear) PyObject *own = py_attr(module, "__name__");
    PyObject *dict = PyModule_Check(module) ? PyModule_GetDict(module) : NULL;
    CLEANUP(py_clear) PyObject *all = dict == NULL ? NULL : PyDict_Copy(dict);
    PyObject *name, *o;

    ASSERT_ATTACHED();
    PyErr_Clear();
    for (size_t i = 0; all != NULL && i < ARRAY_SIZE(usual); i++) {
        o = PyDict_GetItemString(all, usual[i]);
        if (o != NULL && PyCallable_Check(o)) {
            return PyUnicode_FromString(usual[i]);
        }
    }
    for (Py_ssize_t at = 0;
         own != NULL && all != NULL && PyDict_Next(all, &at, &name, &o);) {
        if (is_likely(name, o, own)) {
            return Py_NewRef(name);
        }
    }
    return NULL;
}

/* -- at a request ---------------------------------------------------------- */

void
callable_refuse_result(PyObject *result)
{
    const char *hint = "";

    if (PyCoro_CheckExact(result)) {
        close_coroutine(result);
        hint = ": is it an ASGI application? " ADAPTER " adapts it to WSGI";
    }
    else if (PyAsyncGen_CheckExact(result)) {
        hint = ", not an asynchronous one";
    }
    else if (PyCallable_Check(result)) {
        hint = ": is it a factory? Then write MODULE:FACTORY(), or --callable "
               "FACTORY()";
    }
    PyErr_Format(PyExc_TypeError,
                 "the application returned %.200s; it must return an iterable "
                 "of bytes%s",
                 Py_TYPE(result)->tp_name, hint);
}
