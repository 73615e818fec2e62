/*
 * frozen.h - modules of the standard library that are part of the program
 *
 * What:      encodings, its aliases and UTF-8: the only files that Python itself
 *            reads at every start. Bytecode made at build time, where libpython
 *            is part of the program as well and from 3.11 on; else nothing.
 * Owner:     static.                                    Lifetime: the process.
 * Threads:   main, before Python is initialised.              GIL: not needed.
 * Errors:    none.                                              Blocks: never.
 */
#ifndef PYTHON_FROZEN_H
#define PYTHON_FROZEN_H

void frozen_register(void);

#endif
