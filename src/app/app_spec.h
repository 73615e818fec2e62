/*
 * app_spec.h - what is to be loaded: a file or a module, and what to call in it
 *
 * What:      the grammar of APP, the import, and the choice of the callable.
 * Owner:     the caller; the strings belong to the target.
 * Lifetime:  app_spec_parse() or app_spec_init_file() to app_spec_fini().
 * Threads:   any; one target in one thread at a time.
 * GIL:       held for app_spec_load(), not used by the others.
 * Errors:    app_spec_load(): a Python exception. app_spec_parse(): see there.
 * Blocks:    file system, import.
 */
#ifndef APP_APP_SPEC_H
#define APP_APP_SPEC_H

#include "python/python.h"

#include <stdbool.h>

struct app_spec {
    char *display_name; /* for messages: the path, or MODULE as written */
    char *file;         /* absolute path, NULL for a module */
    char *module; /* name of the module; a file's is made up from its path */
    char *expr;   /* what to call in it; NULL = application, then app */
    bool is_only_app; /* the one application of the process */
};

/* Takes APP apart: a file where it holds a "/", ends like a script or names a
 * regular file; else MODULE[:EXPR]. EXPR is a dotted name or a call with literal
 * arguments; callable (may be NULL) stands in where APP has none. 0, or -EINVAL
 * (the grammar) or another -errno (the file), with a sentence in why. */
CHECK_RESULT int app_spec_parse(const char *app, const char *callable,
                                struct app_spec *ret_spec, char *why,
                                size_t why_size);

/* True for a name (n bytes) that ends like a script's: .py, .wsgi, .cgi, .fcgi. */
bool app_spec_is_script_name(const char *s, size_t n);

/* One script of several; path is absolute and without symbolic links. */
CHECK_RESULT int app_spec_init_file(struct app_spec *t, const char *path,
                                    const char *callable);
void app_spec_fini(struct app_spec *t);

/* Imports it (a file always anew) and returns the callable: new reference. */
PyObject *app_spec_load(const struct app_spec *t);

#endif
