/*
 * loader.h - finds and imports the WSGI application
 *
 * What:      APP (file, MODULE[:CALLABLE], MODULE:FACTORY()), or the request's
 *            SCRIPT_FILENAME below --scripts-in: one callable each, loaded
 *            once, and loaded again after a failure when its file has changed.
 * Owner:     the process owns the applications until it ends.
 * Lifetime:  loader_prepare() to the end of the process.
 * Threads:   the main thread, at start; loader_is_loaded() any.
 * GIL:       see each function. The module's own data is constant when Python
 *            starts; that of the applications is app_cache.c's.
 * Errors:    see each function.
 * Blocks:    on the file system and imports.
 */
#ifndef APP_LOADER_H
#define APP_LOADER_H

#include "base/compiler.h"
#include "conf/config.h"

#include <stdbool.h>

/* Call it before Python starts and before chdir(): it makes paths absolute. An
 * APP that is a file must exist and be readable; --scripts-in and --python-path
 * must be directories. 0, or EX_NOINPUT (66) or EX_USAGE (64) after one line on
 * stderr. */
CHECK_RESULT int loader_prepare(const struct config *config);

/* The absolute path of the script file; NULL for a module or --scripts-in. */
const char *loader_script(void);

/* For interp_start(), with the GIL held: puts the application's folder (the
 * script's, else the current one) at the front of sys.path, then the
 * --python-path folders, each with what its .pth files name. 0, or -1 with an
 * exception. */
CHECK_RESULT int loader_set_path(void);

/* Imports APP now; takes the GIL. Prints the traceback to stderr if it fails. 0
 * or EX_SOFTWARE (70). Does nothing with --scripts-in. */
CHECK_RESULT int loader_load(void);

/* True once APP has been loaded, by loader_load() or by a later request. Works
 * without the GIL. */
bool loader_is_loaded(void);

/* True if the name ends like that of an application: .py, .wsgi, .cgi, .fcgi.
 * Needs no loader_prepare(). */
CHECK_RESULT bool loader_is_script_name(const char *name);

#endif
