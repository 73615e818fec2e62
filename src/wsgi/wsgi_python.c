/*
 * wsgi_python.c - starts Python for WSGI
 */
#include "wsgi/wsgi_python.h"

#include "app/imports.h"
#include "app/loader.h"
#include "context/error_stream.h"
#include "debug/traceback.h"
#include "python/interp.h"
#include "python/python.h"
#include "wsgi/module.h"

static int
after_start(void)
{
    const struct module_state *types = module_get();

    return types == NULL || error_stream_install(types->errors) < 0
               ? -1
               : loader_set_path();
}

int
wsgi_python_start(const struct config *config)
{
    static const struct interp_hooks hooks = {.before_start = module_register,
                                              .after_start = after_start};

    return interp_start(config, loader_script(), &hooks);
}

void
wsgi_python_warm_up(void)
{
    PyGILState_STATE gil = PyGILState_Ensure();

    imports_begin();
    traceback_prepare();
    imports_end();
    PyGILState_Release(gil);
}

void
wsgi_python_flush_line(void)
{
    ASSERT_ATTACHED();
    error_stream_end_line();
}
