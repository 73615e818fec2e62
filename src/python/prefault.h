/*
 * prefault.h - memory that is there before it is touched
 *
 * What:      a page fault costs more than a microsecond on a virtual machine, and
 *            the start of Python is some 800 of them. The program's data comes in
 *            one go; a process that answers one request has that data and Python's
 *            arenas in huge pages (Linux: transparent, 2 MiB), where the system
 *            lets it: `never` in /sys/kernel/mm/transparent_hugepage/enabled
 *            means small ones. It has up to 3 MiB more of memory for that. A
 *            process that stays takes small pages, and so does one that is
 *            limited (ulimit -v, -d): there it may need the room for other things.
 * Owner:     the process.
 * Threads:   before any is started; Python asks for arenas from any of them.
 * GIL:       not needed.
 * Errors:    none: what cannot be had faults in page by page.
 * Blocks:    never, but for the kernel finding a huge page.
 */
#ifndef PYTHON_PREFAULT_H
#define PYTHON_PREFAULT_H

#include <stdbool.h>

/* Early in main(), before anything else touches it: the program's writable data.
 * Only where libpython is static, whose types and frozen modules are 1.1 MiB of
 * it. What options say is not known yet: a process that has a request's variables
 * is taken for one of one request, unless its descriptor 0 listens. */
void prefault_data(bool is_for_one_request);

/* Before Python is initialised, for one request: where its objects will be.
 * What Python gives back is kept for its next arena. */
void prefault_arenas(void);

/* For a process that stays: glibc's malloc() keeps up to 2 MiB at the top of each
 * of its arenas for the next request, where it would give back to the kernel what
 * is beyond 128 KiB, after each. Others do as they do. */
void prefault_heap(void);

#endif
