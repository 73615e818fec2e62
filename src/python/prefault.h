/*
 * prefault.h - memory that is mapped before it is touched
 *
 * What:      a page fault costs more than a microsecond on a virtual machine,
 *            and starting Python causes some 800 of them. This maps the
 *            program's data in one system call. A process that answers one
 *            request also gets this data and Python's arenas in huge pages
 *            (transparent, 2 MiB) if the system allows it: `never` in
 *            /sys/kernel/mm/transparent_hugepage/enabled means small pages.
 *            Huge pages take up to 3 MiB more memory. A process that stays uses
 *            small pages, and so does one whose address space or data is
 *            limited (ulimit -v, -d).
 * Owner:     the process.
 * Threads:   call these before other threads start; Python then asks for arenas
 *            from any thread.
 * GIL:       not needed.
 * Errors:    none: memory that cannot be mapped early faults in page by page.
 * Blocks:    only while the kernel looks for a huge page.
 */
#ifndef PYTHON_PREFAULT_H
#define PYTHON_PREFAULT_H

#include <stdbool.h>

/* Maps the program's writable data. Call it early in main(), before anything
 * touches that data. Only for a static libpython, whose types and frozen
 * modules are 1.1 MiB of it. Options are not parsed yet, so the caller guesses
 * is_for_one_request: true for a process that has a request's variables and
 * whose descriptor 0 does not listen. */
void prefault_data(bool is_for_one_request);

/* Maps the memory for Python's objects, for one request. Call it before Python
 * is initialised. Arenas that Python frees are kept for its next ones. */
void prefault_arenas(void);

/* For a process that stays: makes glibc's malloc() keep up to 2 MiB at the
 * top of each of its arenas for the next request. By default it returns what
 * is beyond 128 KiB to the kernel after each one. No effect on other C
 * libraries. */
void prefault_heap(void);

#endif
