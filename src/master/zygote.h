/*
 * zygote.h - the process that imports the application and forks the workers
 *
 * What:      --preload. The master, which has no Python, forks a zygote. It
 *            loads the application once and forks a worker whenever the master
 *            asks for one, so that workers share its memory and need not load
 *            anything. They become children of the master, as all its workers
 *            are. What the master keeps of a zygote is in zygote_table.h.
 * Owner:     the process.
 * Lifetime:  from the fork until the master closes the connection.
 * Threads:   one of its own (the application may have more).
 * GIL:       held only while Python starts, imports, forks and ends.
 * Errors:    a sysexits code after a log line. A failed import is reported to
 *            the master, and workers can be forked nevertheless.
 * Blocks:    until the master closes the connection.
 */
#ifndef MASTER_ZYGOTE_H
#define MASTER_ZYGOTE_H

#include "base/compiler.h"
#include "worker/worker_setup.h"

#include <sys/types.h>

/* What a zygote reports to the master, one message each. The master sends only
 * the number (unsigned) of the slot for which it wants a worker. */
enum zygote_message {
    ZYGOTE_HAS_LOADED, /* the application */
    ZYGOTE_HAS_FAILED, /* to load it; the traceback is in the log */
    ZYGOTE_HAS_FORKED  /* a worker */
};
struct zygote_report {
    enum zygote_message message;
    unsigned slot; /* FORKED */
    pid_t pid;     /* FORKED: now a child of the master; < 0 = -errno */
};

enum { ZYGOTE_IS_WORKER = -1 };

/* All that a zygote does, in the process that the master has forked for it.
 * fd is its end of a SOCK_SEQPACKET pair, master the pid. Returns
 * ZYGOTE_IS_WORKER in a worker, with *ret_slot and setup->preload filled in;
 * else the exit code. */
CHECK_RESULT int zygote_run(struct worker_setup *setup, int fd, pid_t master,
                            unsigned *ret_slot);

#endif
