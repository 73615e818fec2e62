/*
 * module.h - the extension module _wsgi_cgi and its types
 *
 * What:      a PEP 489 module built into the program; holds the heap types of
 *            the objects that applications get.
 * Owner:     this file, and sys.modules.
 * Lifetime:  the state lives as long as the process.
 * Threads:   any.
 * GIL:       held, but not for module_register(). Without one, too, the state is
 *            constant once the module has been imported, at the start.
 * Errors:    CPython's convention.
 * Blocks:    never.
 */
#ifndef WSGI_MODULE_H
#define WSGI_MODULE_H

#include "python/python.h"

/* The module owns all references. Written when the module is imported. */
struct module_state {
    PyTypeObject *input;          /* InputStream */
    PyTypeObject *errors;         /* ErrorStream */
    PyTypeObject *file_wrapper;   /* FileWrapper */
    PyTypeObject *start_response; /* StartResponse */
    PyTypeObject *after;          /* AfterResponse */
    PyTypeObject *timeout;        /* RequestTimeout */
    PyObject *wsgi_errors;        /* the only environ['wsgi.errors'] */
};

/* Makes `import _wsgi_cgi` possible. Call it before Python starts. 0, or -1:
 * out of memory. */
CHECK_RESULT int module_register(void);

/* Imports the module, the first time, at the start of the process. Borrowed; NULL
 * with an exception. */
CHECK_RESULT struct module_state *module_get(void);

#endif
