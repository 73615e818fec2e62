/*
 * app_spec.h - what to load: a file or a module, and what to call in it
 *
 * What:      the grammar of APP, the import, and the choice of the callable.
 * Owner:     the caller; the strings belong to the struct.
 * Lifetime:  app_spec_parse() or app_spec_init_file() to app_spec_fini().
 * Threads:   any; each struct in one thread at a time.
 * GIL:       held for app_spec_load(), not used by the others. Without one, too,
 *            a struct is one thread's.
 * Errors:    app_spec_load(): a Python exception. The others: see below.
 * Blocks:    on the file system and imports.
 */
#ifndef APP_APP_SPEC_H
#define APP_APP_SPEC_H

#include "python/python.h"

#include <stdbool.h>

/* Nobody writes it after app_spec_parse() or app_spec_init_file(). */
struct app_spec {
    char *display_name; /* for messages: the path, or MODULE as written */
    char *file;         /* absolute path, NULL for a module */
    char *module; /* the module's name; a file's is generated from its path */
    char *expr;   /* what to call in it; NULL = application, then app */
    bool is_only_app; /* APP; false for one script of --scripts-in */
};

/* Parses APP: it names a file if it contains a "/", ends like a script or is
 * a regular file; else it is MODULE[:EXPR]. EXPR is a dotted name or a call
 * with literal arguments; callable (may be NULL) is used if APP has none. 0,
 * or -EINVAL (the grammar) or another -errno (the file), with a sentence in
 * why. */
CHECK_RESULT int app_spec_parse(const char *app, const char *callable,
                                struct app_spec *ret_spec, char *why,
                                size_t why_size);

/* True if a name of n bytes ends like a script's: .py, .wsgi, .cgi, .fcgi. */
bool app_spec_is_script_name(const char *s, size_t n);

/* For one script of several; path is absolute and without symbolic links. 0 or
 * -ENOMEM. */
CHECK_RESULT int app_spec_init_file(struct app_spec *t, const char *path,
                                    const char *callable);
void app_spec_fini(struct app_spec *t);

/* Imports it, a file even if it has been imported before, and returns the
 * callable: new reference, or NULL with an exception. */
PyObject *app_spec_load(const struct app_spec *t);

#endif
