/*
 * math_library.h - libm, which only Python needs
 *
 * What:      loading it takes a tenth of the time of a CGI process that has
 *            nothing for Python to do (--keep-warm, --relay). So the program
 *            has functions of libm's names, not exported, which call those of
 *            the library; it is loaded right before Python starts. Where
 *            libpython.a needs others, the linker adds libm as usual (see
 *            tools/python-probe), and nothing is lost but the time.
 * Owner:     the process; it stays loaded, and its symbols are for extension
 *            modules, as if the program were linked with it.
 * Threads:   the main thread, before others use Python.
 * GIL:       not needed.
 * Errors:    EX_OSERR (71) after one line in the log.
 * Blocks:    on the file system.
 */
#ifndef MODE_MATH_LIBRARY_H
#define MODE_MATH_LIBRARY_H

#include "base/compiler.h"

/* Loads it once; call it before Python starts, and in a process that forks
 * others before that: they must not depend on a file that an upgrade may
 * have replaced. */
CHECK_RESULT int math_library_load(void);

#endif
