/*
 * app_cache.h - the applications of this process and the state each is in
 *
 * What:      ABSENT -> (READY | FAILED); FAILED is tried again when one of the
 *            files that took part has changed, or after a while. With
 *            --scripts-in one application for each script, loaded anew when the
 *            script changes; else the one APP.
 * Owner:     the process; an application is never forgotten.
 * Lifetime:  app_cache_init() to the end of the process.
 * Threads:   any. One thread loads an application, others that want the same one
 *            wait for it; different ones load side by side.
 * GIL:       held by the caller; released while waiting for another thread.
 * Errors:    CPython's convention; SystemExit and the like never come out, only
 *            the two kinds below.               Blocks: file system, import.
 */
#ifndef APP_APP_CACHE_H
#define APP_APP_CACHE_H

#include "app/app_spec.h"
#include "python/python.h"

#include "conf/config.h"
#include "gateway/request.h"

#include <stdbool.h>

/* One of the two is NULL: the one APP, or the absolute path of --scripts-in; both
 * borrowed for ever. Once, before anything below. 0, or -1 with an exception. */
CHECK_RESULT int app_cache_init(const struct config *config,
                                const struct app_spec *spec,
                                const char *scripts_in);

/* The callable for this request: new reference. NULL with an exception:
 * app_cache_is_not_found() -> 404; anything else -> 500. Its text says what could
 * not be loaded, its cause or its text holds the traceback, for the log. With
 * --scripts-in, SCRIPT_NAME and PATH_INFO are mended where the server counted
 * PATH_INFO among the script's path: call this before environ is made. */
PyObject *app_cache_get(struct request *q);

/* The same for the one APP, without a request: loads it where needed. */
PyObject *app_cache_get_only(void);

/* True once the one APP has been loaded. Needs no GIL. */
bool app_cache_only_is_ready(void);

/* True where app_cache_get() raised exc because there is no such script. */
bool app_cache_is_not_found(PyObject *exc);

#endif
