/*
 * loader.h - finding and importing the WSGI application
 *
 * What:      APP (file, MODULE[:CALLABLE], MODULE:FACTORY()), or the request's
 *            SCRIPT_FILENAME below --scripts-in: one callable each, loaded once,
 *            loaded again after a failure when its file has changed.
 * Owner:     the loader owns the applications, for the life of the process.
 * Threads:   any; loading is serialised.             GIL: held by the caller.
 * Errors:    a Python exception.                     Blocks: file system, import.
 */
#ifndef APP_LOADER_H
#define APP_LOADER_H

#include "base/compiler.h"
#include "conf/config.h"

#include <stdbool.h>

/* Before Python starts: APP that names a file must exist and be readable,
 * --scripts-in and --python-path must be directories. Makes paths absolute (call
 * before chdir). 0 or EX_NOINPUT (66), EX_USAGE after one line on stderr. */
CHECK_RESULT int loader_prepare(const struct config *config);

/* Absolute path of the script file, NULL for a module or --scripts-in. */
const char *loader_script(void);

/* For interp_start(), GIL held: sys.path gets the application's own folder (the
 * script's, else the current one), then the --python-path folders, each with
 * what its .pth files name, then what Python put there. 0, or -1 with an exception. */
CHECK_RESULT int loader_set_path(void);

/* Imports APP now, without the GIL held by the caller; prints the traceback to
 * stderr where it fails. 0 or EX_SOFTWARE (70). No-op with --scripts-in. */
CHECK_RESULT int loader_load(void);

/* True once APP has been loaded, by loader_load() or by a request that tried it
 * again. Any thread, without the GIL. */
bool loader_is_loaded(void);

#endif
