/*
 * zygote.h - the process that has imported the application and forks the workers
 *
 * What:      --preload. The master, which has no Python, forks a zygote; it loads
 *            the application once and forks a worker whenever it is asked to, so
 *            that workers share its memory and need not load anything. They are
 *            made the master's own children, as all its workers are. What the
 *            master keeps of it is in zygote_table.h.
 * Owner:     the process.
 * Threads:   one of its own (the application may have more).
 * GIL:       held only while Python is started, imports, forks and ends.
 * Errors:    a sysexits code after a log line; a failed import is told to the
 *            master, and workers can be forked nevertheless.
 * Blocks:    until the master hangs up.
 */
#ifndef MASTER_ZYGOTE_H
#define MASTER_ZYGOTE_H

#include "base/compiler.h"
#include "worker/worker_setup.h"

#include <sys/types.h>

/* What a zygote says to the master, one message each. The master says only the
 * number (unsigned) of the slot a worker is wanted for. */
enum zygote_message {
    ZYGOTE_HAS_LOADED, /* the application */
    ZYGOTE_HAS_FAILED, /* to load it; the traceback is in the log */
    ZYGOTE_HAS_FORKED  /* a worker */
};
struct zygote_report {
    enum zygote_message message;
    unsigned slot; /* BORNE */
    pid_t pid;     /* BORNE: now a child of the master; < 0 = -errno */
};

enum { ZYGOTE_IS_WORKER = -1 };

/* The life of a zygote, in the process that the master (a pid) has forked for it;
 * fd is its end of a SOCK_SEQPACKET pair. Returns ZYGOTE_IS_WORKER in a worker, with
 * *ret_slot and setup->preload filled in, else the exit code. */
CHECK_RESULT int zygote_run(struct worker_setup *setup, int fd, pid_t master,
                            unsigned *ret_slot);

#endif
