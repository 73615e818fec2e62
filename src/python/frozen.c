/*
 * frozen.c - modules of the standard library that are built into the program
 */
#include "python/frozen.h"

#include "config.h"
#include "python/python.h"

#if WSGI_CGI_LINK_STATIC
#include "frozen_encodings.h"
#endif

void
frozen_register(void)
{
#ifdef FROZEN_MODULES
    static const struct _frozen modules[] = {FROZEN_MODULES{.name = NULL}};

    PyImport_FrozenModules = modules;
#endif
}
