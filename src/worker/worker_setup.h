/*
 * worker_setup.h - what a process that serves requests gets at its start
 *
 * What:      the configuration, the sockets and what connects it to the master.
 * Owner:     main(). In a worker the master or the zygote has filled in its
 *            part.
 * Lifetime:  borrowed for the life of the process.
 * Threads:   written at the start only, and in a forked child, by one thread.
 * Errors:    none.                                               Blocks: never.
 */
#ifndef WORKER_WORKER_SETUP_H
#define WORKER_WORKER_SETUP_H

#include "conf/config.h"
#include "doctor/doctor.h"
#include "net/acl.h"
#include "net/fd_passing.h"
#include "net/listener.h"
#include "status/control.h"
#include "status/scoreboard.h"
#include "status/status.h"

#include <stdbool.h>
#include <stddef.h>

/* What the process that forked this one has done already (--preload). */
enum worker_preload {
    PRELOAD_NONE,   /* nothing */
    PRELOAD_LOADED, /* Python runs, the application is loaded */
    PRELOAD_BROKEN  /* Python runs, the application could not be loaded */
};

struct worker_setup {
    const struct config *config;
    struct listener *listeners;
    size_t nlisteners;
    const struct acl *allow;
    struct scoreboard *board;
    unsigned worker;    /* our slot on the board */
    int master_wake_fd; /* 8 bytes wake the master; -1 = there is none */
    int imports_fd;     /* --reload: takes the files that were imported, for the
                         * master; -1 = there is none */
    /* Between the workers of a master, or from one run of the program to the
     * next with the same process id. */
    struct fd_passing *fd_passing;
    enum worker_preload preload;
    bool restarted; /* clients have waited for this program, or for this
                     * worker, to start: it serves them before it stops */
    struct control *control; /* the control socket, served here; or NULL */
    /* --doctor: its page answers all requests, there is no Python; or NULL. */
    const struct doctor_facts *doctor;
};

/* For the status page. */
static inline struct status_source
worker_setup_status(const struct worker_setup *s)
{
    return (struct status_source){.config = s->config,
                                  .board = s->board,
                                  .listeners = s->listeners,
                                  .nlisteners = s->nlisteners};
}

#endif
