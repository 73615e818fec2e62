/*
 * app_spec.c - what to load: a file or a module, and what to call in it
 */
#include "app/app_spec.h"

#include "app/bytecode.h"
#include "app/callable.h"
#include "app/imports.h"
#include "app/spawn.h"
#include "context/error_stream.h"
#include "debug/find_below.h"
#include "debug/import_hint.h"
#include "os/path_absolute.h"
#include "os/path_access.h"
#include "python/site.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- the grammar ----------------------------------------------------------- */

static bool
ends_with(const char *s, size_t n, const char *end)
{
    size_t m = strlen(end);
    return n > m && memcmp(s + n - m, end, m) == 0;
}

bool
app_spec_is_script_name(const char *s, size_t n)
{
    static const char *const ends[] = {".py", ".wsgi", ".cgi", ".fcgi"};
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        if (ends_with(s, n, ends[i])) {
            return true;
        }
    }
    return false;
}

static bool
is_regular_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool
is_identifier(const char *s, size_t n)
{
    if (n == 0 || isdigit((unsigned char)s[0])) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)s[i]) && s[i] != '_' && s[i] >= 0) {
            return false; /* bytes above 127 are left to Python */
        }
    }
    return true;
}

/* a.b.c */
static bool
is_dotted_name(const char *s, size_t n)
{
    for (;;) {
        size_t part = 0;
        while (part < n && s[part] != '.') {
            part++;
        }
        if (!is_identifier(s, part)) {
            return false;
        }
        if (part == n) {
            return true;
        }
        s += part + 1;
        n -= part + 1;
    }
}

/* "shop.wsgi" is a file if it exists, else the module, as Django's users write
 * it. */
static bool
is_wsgi_module(const char *app)
{
    size_t n = strlen(app);
    return ends_with(app, n, ".wsgi") && is_dotted_name(app, n) &&
           access(app, F_OK) < 0;
}

static bool
is_file_form(const char *app)
{
    return strchr(app, '/') != NULL ||
           (app_spec_is_script_name(app, strlen(app)) &&
            !is_wsgi_module(app)) ||
           is_regular_file(app);
}

static bool
set_text(char **to, const char *from, size_t n)
{
    *to = strndup(from, n);
    return *to != NULL;
}

/* Sets a module name that no import uses. The same path gets the same name in
 * every process, so that one can unpickle what another has pickled. */
static bool
set_generated_name(struct app_spec *t)
{
    const char *slash = strrchr(t->file, '/');
    const char *base = slash == NULL ? t->file : slash + 1;
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (const char *s = t->file; *s != '\0'; s++) {
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    }
    char name[128];
    (void)snprintf(name, sizeof(name), "_wsgi_script_%.64s_%016llx", base,
                   (unsigned long long)h);
    for (char *s = name; *s != '\0'; s++) {
        if (!isalnum((unsigned char)*s)) {
            *s = '_';
        }
    }
    return set_text(&t->module, name, strlen(name));
}

/* err and reason: of path_access(); 0 where it is no regular file. */
static void
explain_file(const char *app, const char *path, int err, const char *reason,
             char *why, size_t why_size)
{
    char file[PATH_MAX];
    const char *colon = strrchr(app, ':');
    size_t n = colon == NULL ? 0 : (size_t)(colon - app);

    if (n > 0 && app_spec_is_script_name(app, n)) {
        (void)snprintf(why, why_size,
                       "%s; for a file, name the callable with --callable",
                       reason);
    }
    else if ((err == 0 || err == -ENOENT) &&
             find_below_path(app, path, file, sizeof file)) {
        (void)snprintf(why, why_size, "%s: did you mean %s?", reason, file);
    }
    else {
        (void)snprintf(why, why_size, "%s", reason);
    }
}

static int
parse_file(const char *app, struct app_spec *t, char *why, size_t why_size)
{
    char path[PATH_MAX];
    char reason[2 * PATH_MAX + 256];
    struct stat st;

    int r = path_absolute_trimmed(app, path, sizeof(path));
    if (r < 0) {
        return r;
    }
    r = path_access(path, R_OK, &st, reason, sizeof(reason));
    if (r == 0 && !S_ISREG(st.st_mode)) {
        (void)snprintf(reason, sizeof(reason), "%s is not a regular file",
                       path);
        explain_file(app, path, 0, reason, why, why_size);
        return -ENOENT;
    }
    if (r < 0) {
        explain_file(app, path, r, reason, why, why_size);
        return r;
    }
    t->file = strdup(path);
    return t->file != NULL && set_generated_name(t) ? 0 : -ENOMEM;
}

/* Checks n bytes of app as the name of a module; expr is what follows ":", or
 * NULL. 0, or -EINVAL with a sentence in why. */
static int
check_module(const char *app, size_t n, const char *expr, char *why,
             size_t why_size)
{
    char file[PATH_MAX];

    if (!is_dotted_name(app, n)) {
        (void)snprintf(
            why, why_size,
            "there is no such file, and it is not MODULE[:CALLABLE]");
        return -EINVAL;
    }
    if (expr != NULL && *expr == '\0') {
        (void)snprintf(why, why_size, "nothing follows the colon");
        return -EINVAL;
    }
    (void)snprintf(file, sizeof(file), "%.*s", (int)n, app);
    if (app_spec_is_script_name(app, n) && is_regular_file(file)) {
        (void)snprintf(why, why_size,
                       "%s is a file: name its callable with --callable", file);
        return -EINVAL;
    }
    return 0;
}

static int
parse_module(const char *app, struct app_spec *t, char *why, size_t why_size)
{
    size_t n = strcspn(app, ":");
    const char *expr = app[n] == ':' ? app + n + 1 : NULL;

    int r = check_module(app, n, expr, why, why_size);
    if (r < 0) {
        return r;
    }
    if (!set_text(&t->module, app, n)) {
        return -ENOMEM;
    }
    if (is_wsgi_module(app)) {
        free(t->display_name);
        if (asprintf(&t->display_name, "%s (the module: there is no such file)",
                     app) < 0) {
            t->display_name = NULL;
            return -ENOMEM;
        }
    }
    if (expr != NULL) {
        /* It is more specific than --callable, so it wins. */
        free(t->expr);
        t->expr = strdup(expr);
        return t->expr == NULL ? -ENOMEM : 0;
    }
    return 0;
}

int
app_spec_parse(const char *app, const char *callable, struct app_spec *ret_spec,
               char *why, size_t why_size)
{
    struct app_spec t = {.is_only_app = true};
    int r = -ENOMEM;

    t.display_name = strdup(app);
    t.expr = callable == NULL ? NULL : strdup(callable);
    if (t.display_name != NULL && (callable == NULL || t.expr != NULL)) {
        r = is_file_form(app) ? parse_file(app, &t, why, why_size)
                              : parse_module(app, &t, why, why_size);
    }
    if (r < 0) {
        if (r == -ENOMEM || r == -ENAMETOOLONG) {
            (void)snprintf(why, why_size, "%s", strerror(-r));
        }
        app_spec_fini(&t);
        return r;
    }
    *ret_spec = t;
    return 0;
}

int
app_spec_init_file(struct app_spec *t, const char *path, const char *callable)
{
    *t = (struct app_spec){.is_only_app = false};
    t->display_name = strdup(path);
    t->file = strdup(path);
    t->expr = callable == NULL ? NULL : strdup(callable);
    if (t->display_name == NULL || t->file == NULL ||
        (callable != NULL && t->expr == NULL) || !set_generated_name(t)) {
        app_spec_fini(t);
        return -ENOMEM;
    }
    return 0;
}

void
app_spec_fini(struct app_spec *t)
{
    free(t->display_name);
    free(t->file);
    free(t->module);
    free(t->expr);
    *t = (struct app_spec){.is_only_app = false};
}

/* -- the module's name ----------------------------------------------------- */

/* True if sys.modules has no module of this name, or has this file under it. */
static bool
is_name_available(PyObject *name, const char *file)
{
    CLEANUP(py_clear) PyObject *m = NULL;
    int has = PyDict_GetItemRef(PyImport_GetModuleDict(), name, &m);
    if (has <= 0) {
        return has == 0;
    }
    CLEANUP(py_clear) PyObject *its = PyObject_GetAttrString(m, "__file__");
    const char *text =
        its != NULL && PyUnicode_Check(its) ? PyUnicode_AsUTF8(its) : NULL;
    bool same = text != NULL && strcmp(text, file) == 0;
    PyErr_Clear();
    return same;
}

/* True if the interpreter contains a module of this name: it would be found
 * before sys.path is searched. */
static bool
is_built_in(PyObject *name)
{
    CLEANUP(py_clear) PyObject *imp = PyImport_ImportModule("_imp");
    static const char *const asks[] = {"is_builtin", "is_frozen"};
    bool built_in = imp == NULL;
    for (size_t i = 0; !built_in && i < ARRAY_SIZE(asks); i++) {
        CLEANUP(py_clear)
        PyObject *r = PyObject_CallMethod(imp, asks[i], "O", name);
        built_in = r == NULL || PyObject_IsTrue(r) != 0;
    }
    PyErr_Clear();
    return built_in;
}

/* New reference. app.py as the one APP is the module "app", as `import app` in
 * its other files calls it: under another name that import would run the file a
 * second time. The generated name is used if this could hide another module,
 * and for one script of several. Never "__main__". */
static PyObject *
choose_module_name(const struct app_spec *t)
{
    const char *slash = t->file == NULL ? NULL : strrchr(t->file, '/');
    size_t n = slash == NULL ? 0 : strlen(slash + 1);

    if (t->is_only_app && n > 3 && ends_with(slash + 1, n, ".py") &&
        is_identifier(slash + 1, n - 3)) {
        CLEANUP(py_clear)
        PyObject *stem =
            PyUnicode_DecodeFSDefaultAndSize(slash + 1, (Py_ssize_t)n - 3);
        if (stem != NULL && PyUnicode_IsIdentifier(stem) == 1 &&
            is_name_available(stem, t->file) && !is_built_in(stem)) {
            return py_steal(&stem);
        }
        PyErr_Clear();
    }
    return PyUnicode_DecodeFSDefault(t->module);
}

/* -- the import ------------------------------------------------------------ */

static void
unload_module(PyObject *name)
{
    PyObject *modules = PyImport_GetModuleDict();
    if (PyDict_Contains(modules, name) > 0) {
        (void)PyDict_DelItem(modules, name);
    }
    PyErr_Clear();
}

static int
add_folder(const char *file)
{
    const char *slash = strrchr(file, '/');
    char dir[PATH_MAX];

    assert(slash != NULL);
    (void)snprintf(dir, sizeof(dir), "%.*s",
                   slash == file ? 1 : (int)(slash - file), file);
    CLEANUP(py_clear) PyObject *entry = PyUnicode_DecodeFSDefault(dir);
    CLEANUP(py_clear) PyObject *path = py_sys_attr("path");
    if (entry == NULL || path == NULL) {
        return entry == NULL ? -1 : 0;
    }
    /* No lock: entries may have an __eq__() of their own. If two threads load
     * scripts of a new folder at once, it may get two entries. */
    int has = PySequence_Contains(path, entry);
    return has != 0 ? has < 0 ? -1 : 0 : site_insert_path(dir, 0);
}

static PyObject *
import_file(const struct app_spec *t)
{
    CLEANUP(py_clear) PyObject *name = choose_module_name(t);
    CLEANUP(py_clear) PyObject *path = PyUnicode_DecodeFSDefault(t->file);
    if (name == NULL || path == NULL) {
        return NULL;
    }
    /* Otherwise the code would run in the namespace of the old module. */
    unload_module(name);
    CLEANUP(py_clear) PyObject *code = bytecode_load(t->file);
    if (code == NULL || (!t->is_only_app && add_folder(t->file) < 0) ||
        spawn_add_script(name, path) < 0) {
        return NULL;
    }
    return PyImport_ExecCodeModuleObject(name, code, path, NULL);
}

/* -- the callable ---------------------------------------------------------- */

/* For messages: where the callable was searched. */
static const char *
location_of(const struct app_spec *t)
{
    return t->file != NULL ? t->display_name : t->module;
}

/* module: names what it has instead; NULL for a name in an object. */
static PyObject *
raise_missing(const struct app_spec *t, PyObject *module, const char *name,
              size_t n)
{
    CLEANUP(py_clear)
    PyObject *text =
        PyUnicode_DecodeUTF8(name, (Py_ssize_t)n, "backslashreplace");
    CLEANUP(py_clear)
    PyObject *other = module == NULL ? NULL : callable_of(module);
    const char *below = module == NULL ? NULL : import_hint_submodule(module);
    if (text == NULL) {
        return NULL;
    }
    if (other != NULL) {
        return PyErr_Format(PyExc_AttributeError, "%s has no '%U', but '%U'",
                            location_of(t), text, other);
    }
    return below == NULL
               ? PyErr_Format(PyExc_AttributeError, "%s has no '%U'",
                              location_of(t), text)
               : PyErr_Format(PyExc_AttributeError,
                              "%s has no '%U': did you mean %s.%s:%U?",
                              location_of(t), text, location_of(t), below,
                              text);
}

/* Python has no name that all use, but tutorials have these. */
static const char *
usual_factory(PyObject *module)
{
    static const char *const names[] = {"create_app", "make_app",
                                        "create_application", "get_app"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        CLEANUP(py_clear)
        PyObject *found = PyObject_GetAttrString(module, names[i]);
        PyErr_Clear();
        if (found != NULL && PyCallable_Check(found)) {
            return names[i];
        }
    }
    return NULL;
}

static PyObject *
raise_no_default(const struct app_spec *t, PyObject *module)
{
    bool is_cgi_script = error_stream_take_cgi_head();
    const char *factory = usual_factory(module);
    const char *below = import_hint_submodule(module);

    if (factory != NULL) {
        return PyErr_Format(PyExc_AttributeError,
                            "%s has neither 'application' nor 'app', but "
                            "'%s': --callable '%s()' calls it",
                            location_of(t), factory, factory);
    }
    if (below != NULL) {
        return PyErr_Format(PyExc_AttributeError,
                            "%s has neither 'application' nor 'app': did you "
                            "mean %s.%s?",
                            location_of(t), location_of(t), below);
    }
    return PyErr_Format(PyExc_AttributeError,
                        "%s has neither 'application' nor 'app' "
                        "(--callable names another)%s",
                        location_of(t),
                        is_cgi_script
                            ? "; a CGI script that prints its page is no WSGI "
                              "application, which returns it: see "
                              "examples/hello.py"
                            : "");
}

static PyObject *
default_callable(const struct app_spec *t, PyObject *module,
                 const char **ret_name)
{
    static const char *const names[] = {"application", "app"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        CLEANUP(py_clear) PyObject *name = PyUnicode_FromString(names[i]);
        PyObject *found = NULL;
        if (name == NULL ||
            PyObject_GetOptionalAttr(module, name, &found) < 0) {
            return NULL;
        }
        if (found != NULL) {
            *ret_name = names[i];
            return found;
        }
    }
    return raise_no_default(t, module);
}

/* The attribute a.b.c of the module. New reference, or NULL with an
 * exception. */
static PyObject *
dotted_attribute(const struct app_spec *t, PyObject *module, const char *s,
                 size_t n)
{
    CLEANUP(py_clear) PyObject *at = Py_NewRef(module);
    for (size_t from = 0; from <= n;) {
        size_t part = 0;
        while (from + part < n && s[from + part] != '.') {
            part++;
        }
        CLEANUP(py_clear)
        PyObject *name = PyUnicode_DecodeUTF8(s + from, (Py_ssize_t)part, NULL);
        PyObject *next = NULL;
        if (name == NULL || PyObject_GetOptionalAttr(at, name, &next) < 0) {
            return NULL;
        }
        if (next == NULL) {
            return raise_missing(t, from == 0 ? module : NULL, s, part + from);
        }
        Py_SETREF(at, next);
        from += part + 1;
    }
    return py_steal(&at);
}

/* True if the syntax tree is of this type, such as "Call". */
static bool
is_tree(PyObject *tree, const char *type)
{
    const char *name = Py_TYPE(tree)->tp_name;
    const char *dot = strrchr(name, '.');
    return strcmp(dot == NULL ? name : dot + 1, type) == 0;
}

static PyObject *
literal(PyObject *ast, PyObject *tree)
{
    return PyObject_CallMethod(ast, "literal_eval", "O", tree);
}

static PyObject *
positional_arguments(PyObject *ast, PyObject *call)
{
    CLEANUP(py_clear) PyObject *trees = PyObject_GetAttrString(call, "args");
    CLEANUP(py_clear)
    PyObject *values = trees == NULL ? NULL : PySequence_List(trees);
    if (values == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(values); i++) {
        PyObject *value = literal(ast, PyList_GET_ITEM(values, i));
        if (value == NULL || PyList_SetItem(values, i, value) < 0) {
            return NULL;
        }
    }
    return PyList_AsTuple(values);
}

static int
add_keyword(PyObject *ast, PyObject *keyword, PyObject *to)
{
    CLEANUP(py_clear) PyObject *name = PyObject_GetAttrString(keyword, "arg");
    CLEANUP(py_clear) PyObject *tree = PyObject_GetAttrString(keyword, "value");
    if (name == NULL || tree == NULL) {
        return -1;
    }
    if (name == Py_None) { /* **mapping */
        PyErr_SetNone(PyExc_ValueError);
        return -1;
    }
    CLEANUP(py_clear) PyObject *value = literal(ast, tree);
    return value == NULL ? -1 : PyDict_SetItem(to, name, value);
}

static PyObject *
keyword_arguments(PyObject *ast, PyObject *call)
{
    CLEANUP(py_clear)
    PyObject *trees = PyObject_GetAttrString(call, "keywords");
    CLEANUP(py_clear)
    PyObject *list = trees == NULL ? NULL : PySequence_List(trees);
    CLEANUP(py_clear) PyObject *named = PyDict_New();
    if (list == NULL || named == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        if (add_keyword(ast, PyList_GET_ITEM(list, i), named) < 0) {
            return NULL;
        }
    }
    return py_steal(&named);
}

/* Parses a call of a plain name. Returns its syntax tree, or NULL with
 * SyntaxError or ValueError. */
static PyObject *
parse_call(PyObject *ast, const char *expr)
{
    CLEANUP(py_clear)
    PyObject *tree =
        PyObject_CallMethod(ast, "parse", "sss", expr, "<APP>", "eval");
    CLEANUP(py_clear)
    PyObject *call = tree == NULL ? NULL : PyObject_GetAttrString(tree, "body");
    if (call == NULL) {
        return NULL;
    }
    CLEANUP(py_clear) PyObject *func = NULL;
    if (is_tree(call, "Call")) {
        func = PyObject_GetAttrString(call, "func");
    }
    if (func == NULL ||
        !(is_tree(func, "Name") || is_tree(func, "Attribute"))) {
        PyErr_SetNone(PyExc_ValueError);
        return NULL;
    }
    return py_steal(&call);
}

/* Calls factory with the arguments in expr, as gunicorn does. */
static PyObject *
call_factory(PyObject *factory, const char *expr)
{
    CLEANUP(py_clear) PyObject *ast = PyImport_ImportModule("ast");
    if (ast == NULL) {
        return NULL;
    }
    CLEANUP(py_clear) PyObject *call = parse_call(ast, expr);
    CLEANUP(py_clear)
    PyObject *args = call == NULL ? NULL : positional_arguments(ast, call);
    CLEANUP(py_clear)
    PyObject *named = args == NULL ? NULL : keyword_arguments(ast, call);
    if (named == NULL) {
        if (PyErr_ExceptionMatches(PyExc_ValueError) ||
            PyErr_ExceptionMatches(PyExc_SyntaxError)) {
            PyErr_Format(PyExc_ValueError,
                         "'%s' is not a name or a call with literal arguments",
                         expr);
        }
        return NULL;
    }
    return PyObject_Call(factory, args, named);
}

/* Finds the callable in the module. *ret_name is its name there. */
static PyObject *
find_callable(const struct app_spec *t, PyObject *module, const char **ret_name)
{
    if (t->expr == NULL) {
        return default_callable(t, module, ret_name);
    }
    *ret_name = t->expr;
    size_t n = strcspn(t->expr, "(");
    if (!is_dotted_name(t->expr, n)) {
        return PyErr_Format(PyExc_ValueError,
                            "'%s' is not a name or a call with literal "
                            "arguments",
                            t->expr);
    }
    CLEANUP(py_clear) PyObject *found = dotted_attribute(t, module, t->expr, n);
    if (found == NULL || t->expr[n] == '\0') {
        return py_steal(&found);
    }
    return strcmp(t->expr + n, "()") == 0 ? PyObject_CallNoArgs(found)
                                          : call_factory(found, t->expr);
}

PyObject *
app_spec_load(const struct app_spec *t)
{
    const char *name = NULL;

    ASSERT_ATTACHED();
    assert(t->file != NULL ? t->file[0] == '/' : t->module != NULL);
    (void)error_stream_take_cgi_head();
    CLEANUP(py_clear)
    PyObject *module =
        t->file != NULL ? import_file(t) : PyImport_ImportModule(t->module);
    if (module != NULL && t->file == NULL) {
        imports_add_app(module);
    }
    CLEANUP(py_clear)
    PyObject *callable =
        module == NULL ? NULL : find_callable(t, module, &name);
    return callable == NULL ||
                   callable_check(callable, location_of(t), name) < 0
               ? NULL
               : py_steal(&callable);
}
