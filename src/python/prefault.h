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
 *            limited (ulimit -v, -d). A process without Python (a master, a
 *            client command) calls none of this. A free-threaded Python has no
 *            arenas: its objects are mimalloc's.
 * Owner:     the process.
 * Threads:   Python asks for arenas from any thread; the others: see below.
 * GIL:       not needed; a lock guards the arenas.
 * Errors:    none: memory that cannot be mapped early faults in page by page.
 * Blocks:    only while the kernel looks for a huge page.
 */
#ifndef PYTHON_PREFAULT_H
#define PYTHON_PREFAULT_H

/* Maps the program's writable data, where that has not been done. Call it right
 * before Python starts; other threads may run. Only for a static libpython,
 * whose types and frozen modules are 1.1 MiB of it. */
void prefault_data(void);

/* The same in a huge page, and memory for Python's objects. Call it before
 * Python starts, and before other threads do: it moves the data. Arenas that
 * Python frees are kept for its next ones. */
void prefault_for_one_request(void);

/* For a process that stays: makes glibc's malloc() keep up to 2 MiB at the
 * top of each of its arenas for the next request. By default it returns what
 * is beyond 128 KiB to the kernel after each one. No effect on other C
 * libraries. */
void prefault_heap(void);

#endif
