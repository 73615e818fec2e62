/*
 * import_hint.h - what to do about a module that was not found
 *
 * What:      looks for the missing module where people have it: in the folders
 *            above and below the application, in a virtual environment beside
 *            it, among the packages of the user. Where it is nowhere, the hint
 *            says for which Python it is not installed; where its package was
 *            found, which folder lacks which file.
 * Owner:     the result is the caller's.
 * Threads:   any.
 * GIL:       held. Without one: nothing is borrowed from sys.modules or sys.
 * Errors:    NULL: there is no hint. Never leaves an exception.
 * Blocks:    on the file system.
 */
#ifndef DEBUG_IMPORT_HINT_H
#define DEBUG_IMPORT_HINT_H

#include "python/python.h"

#include "conf/config.h"

/* Why the load of a file (an absolute path), or else of a module, failed with
 * exc. The hint is one clause for the end of a message: "mysite is the folder
 * of this file: give --python-path /srv, or ...". A new reference to a string,
 * or NULL. */
PyObject *import_hint(PyObject *exc, const char *file, const char *module,
                      const struct config *config);

/* For a package that does not have the application: the name of the module in
 * it that people have it in, such as "wsgi", where there is such a file. Else
 * NULL, without an exception. */
const char *import_hint_submodule(PyObject *package);

#endif
