/*
 * frozen.h - modules of the standard library that are built into the program
 *
 * What:      encodings, encodings.aliases and encodings.utf_8, the only files
 *            that Python itself reads at every start. Their bytecode is made at
 *            build time, if libpython is static and Python is 3.11 or later;
 *            otherwise nothing is built in.
 * Owner:     static data.
 * Lifetime:  the process.
 * Threads:   the main thread, before Python is initialised.
 * GIL:       not needed.
 * Errors:    none.
 * Blocks:    never.
 */
#ifndef PYTHON_FROZEN_H
#define PYTHON_FROZEN_H

void frozen_register(void);

#endif
