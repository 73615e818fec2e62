/*
 * module.h - the extension module _wsgi_cgi and its types
 *
 * What:      a PEP 489 module built into the program that holds the heap types
 *            the gateway hands to applications.
 * Owner:     the interpreter (sys.modules); the state lives as long as it.
 * Threads:   any.                GIL: held, but in module_register().
 * Errors:    CPython's convention.                                Blocks: never.
 */
#ifndef WSGI_MODULE_H
#define WSGI_MODULE_H

#include "python/python.h"

/* All references are the module's own. */
struct module_state {
    PyTypeObject *input;          /* InputStream */
    PyTypeObject *errors;         /* ErrorStream */
    PyTypeObject *file_wrapper;   /* FileWrapper */
    PyTypeObject *start_response; /* StartResponse */
    PyTypeObject *after;          /* AfterResponse */
    PyTypeObject *timeout;        /* RequestTimeout */
    PyObject *wsgi_errors;        /* the one environ['wsgi.errors'] */
};

/* Makes `import _wsgi_cgi` possible; before Python starts. 0 or -1. */
CHECK_RESULT int module_register(void);

/* Imports the module where that has not happened. NULL with an exception. */
CHECK_RESULT struct module_state *module_get(void);

#endif
