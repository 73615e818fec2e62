/*
 * math_library.c - libm, which only Python needs
 */
#include "mode/math_library.h"

#include "config.h"

#include <features.h>

#if WSGI_CGI_LINK_STATIC && defined(__GLIBC__)
#include "os/log.h"

#include <dlfcn.h>
#include <gnu/lib-names.h>
#include <math.h>
#include <stddef.h>
#include <string.h>
#include <sysexits.h>

/* What CPython 3.9 to 3.14 call. X(name, result, parameters, arguments) */
#define OF_ONE(X, name) X(name, double, (double x), (x))
#define OF_TWO(X, name) X(name, double, (double x, double y), (x, y))
#define FUNCTIONS(X)                                             \
    OF_ONE(X, acos)                                              \
    OF_ONE(X, acosh)                                             \
    OF_ONE(X, asin)                                              \
    OF_ONE(X, asinh)                                             \
    OF_ONE(X, atan)                                              \
    OF_TWO(X, atan2)                                             \
    OF_ONE(X, atanh)                                             \
    OF_ONE(X, cbrt)                                              \
    OF_ONE(X, ceil)                                              \
    OF_TWO(X, copysign)                                          \
    OF_ONE(X, cos)                                               \
    OF_ONE(X, cosh)                                              \
    OF_ONE(X, erf)                                               \
    OF_ONE(X, erfc)                                              \
    OF_ONE(X, exp)                                               \
    OF_ONE(X, exp2)                                              \
    OF_ONE(X, expm1)                                             \
    OF_ONE(X, floor)                                             \
    X(fma, double, (double x, double y, double z), (x, y, z))    \
    OF_TWO(X, fmod)                                              \
    X(frexp, double, (double x, int *exponent), (x, exponent))   \
    OF_TWO(X, hypot)                                             \
    X(ldexp, double, (double x, int exponent), (x, exponent))    \
    OF_ONE(X, log)                                               \
    OF_ONE(X, log10)                                             \
    OF_ONE(X, log1p)                                             \
    OF_ONE(X, log2)                                              \
    X(modf, double, (double x, double *whole), (x, whole))       \
    OF_TWO(X, nextafter)                                         \
    OF_TWO(X, pow)                                               \
    OF_ONE(X, round)                                             \
    OF_ONE(X, sin)                                               \
    X(sincos, void, (double x, double *s, double *c), (x, s, c)) \
    OF_ONE(X, sinh)                                              \
    OF_ONE(X, sqrt)                                              \
    OF_ONE(X, tan)                                               \
    OF_ONE(X, tanh)

/* NOLINTNEXTLINE(bugprone-macro-parentheses): it is declared */
#define POINTER(name, result, parameters, arguments) __typeof__(&(name)) name;
static struct {
    FUNCTIONS(POINTER)
} library;

/* Compiled without the compiler's knowledge of these names (-fno-builtin): it
 * would turn some of them into a call of themselves. */
#define FUNCTION(name, result, parameters, arguments) \
    result name parameters                            \
    {                                                 \
        return library.name arguments;                \
    }
FUNCTIONS(FUNCTION)

static int
fail(void)
{
    const char *reason = dlerror();

    log_error("Python's mathematical functions: %s",
              reason != NULL ? reason : LIBM_SO " could not be loaded");
    return EX_OSERR;
}

int
math_library_load(void)
{
    static void *handle;

    if (handle != NULL) {
        return 0;
    }
    void *opened = dlopen(LIBM_SO, RTLD_NOW | RTLD_GLOBAL);
    if (opened == NULL) {
        return fail();
    }
    void *found;
#define FIND(name, result, parameters, arguments) \
    found = dlsym(opened, #name);                 \
    if (found == NULL) {                          \
        return fail();                            \
    }                                             \
    memcpy(&library.name, &found, sizeof found);
    FUNCTIONS(FIND)
    handle = opened;
    return 0;
}

#else
int
math_library_load(void)
{
    return 0; /* the program, or libpython.so, is linked with it */
}
#endif
