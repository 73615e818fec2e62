/*
 * app_cache.h - the applications of this process, and the state of each
 *
 * What:      ABSENT -> (READY | FAILED). FAILED is tried again when one of the
 *            files that took part has changed, or after a while. With
 *            --scripts-in there is one application for each script, loaded
 *            again when the script changes; otherwise there is the one APP.
 * Owner:     the process; an application is never dropped.
 * Lifetime:  app_cache_init() to the end of the process.
 * Threads:   any. One thread loads an application while others that want the
 *            same one wait for it; different applications can be loaded at the
 *            same time.
 * GIL:       held by the caller; released while waiting for another thread.
 *            Without one the thread is attached to Python in the same way, and
 *            locks of app_cache.c protect the data.
 * Errors:    CPython's convention. SystemExit and the like never get out, only
 *            LoadError and ScriptNotFound, and RequestTimeout.
 * Blocks:    on the file system and imports.
 */
#ifndef APP_APP_CACHE_H
#define APP_APP_CACHE_H

#include "app/app_spec.h"
#include "python/python.h"

#include "conf/config.h"
#include "gateway/request.h"

#include <stdbool.h>

/* Exactly one of spec (the one APP) and scripts_in (the absolute path of
 * --scripts-in) is not NULL; both are borrowed for ever. Call it once, before
 * anything below. 0, or -1 with an exception. */
CHECK_RESULT int app_cache_init(const struct config *config,
                                const struct app_spec *spec,
                                const char *scripts_in);

/* The callable for this request: new reference. NULL with an exception: answer
 * 404 if app_cache_is_not_found(), else 500. The exception's text says what
 * could not be loaded; its text or its cause holds the traceback, for the log.
 * With --scripts-in, SCRIPT_NAME and PATH_INFO are corrected if the server
 * counted PATH_INFO as part of the script's path: call this before you make
 * environ. */
PyObject *app_cache_get(struct request *q);

/* The callable of the one APP, without a request; loads it if needed. New
 * reference, or NULL with an exception. */
PyObject *app_cache_get_only(void);

/* True once the one APP has been loaded. Works without the GIL. */
bool app_cache_only_is_ready(void);

/* True if exc is app_cache_get()'s for a script that does not exist. */
bool app_cache_is_not_found(PyObject *exc);

#endif
