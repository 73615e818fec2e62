/*
 * restart.h - executes the program again, with the same pid and sockets
 *
 * What:      how a process without a master loads new code: its spawner
 *            (lighttpd, supervisord) must not see it end. First a child process
 *            checks with --check whether the new code loads; if not, the old
 *            code continues.
 * Owner:     the process; restart_remember() once.
 * Lifetime:  the process; struct restart until restart_fini().
 * Threads:   restart_remember() and restart_init() the main thread, before there
 *            are others; restart_exec() any, the other threads end with it; the
 *            rest the control thread.                            GIL: not used.
 * Errors:    logs.
 * Blocks:    never. restart_exec() returns only if it fails.
 */
#ifndef RELOAD_RESTART_H
#define RELOAD_RESTART_H

#include "base/compiler.h"
#include "conf/config.h"
#include "net/fd_passing.h"
#include "net/listener.h"
#include "reload/file_watcher.h"
#include "reload/reload_pipe.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Saves what the program was started with: arguments, environment, working
 * directory. Call it before anything changes them. 0 or -ENOMEM. */
CHECK_RESULT int restart_remember(char **argv, char **environment);

/* True if this program has executed itself again, in this process. */
bool restart_is_one(void);

enum { RESTART_LISTENERS_MAX = 64 };

/* What the program passes on when it executes itself again. */
struct restart_fds {
    int listeners[RESTART_LISTENERS_MAX];
    size_t nlisteners; /* 0: this is not a restart */
    int control_fd;    /* the socket of --control, -1 = none */
    /* The socket file of each listener; the last one is that of control_fd.
     * Only st_dev and st_ino are set; they are 0 if there is no file. */
    struct stat files[RESTART_LISTENERS_MAX + 1];
    int notify_fd;                /* the connection to systemd, -1 = none */
    struct fd_passing fd_passing; /* idle connections wait in it */
    int access_fd;                /* the file of --access-log, -1 = none */
    int slow_fd;                  /* the file of --slow-log, -1 = none */
};

/* What was passed on to this run. Call it once. */
void restart_inherited(struct restart_fds *ret);

/* How often this process has executed itself for new code; known after
 * restart_inherited(). */
unsigned restart_reloads(void);

/* Executes the program again with these. Returns only on failure, with
 * -errno. */
CHECK_RESULT int restart_exec(const struct restart_fds *fds);

/* In the child that checks new code: the pipe for its result (reload_pipe.h),
 * or -1 if this is not such a child. Call it once, before Python starts. */
CHECK_RESULT int restart_check_fd(void);

/* In that child, when it has become --user: from now on it ends with its
 * parent. */
void restart_check_bind(int check_fd);

/* All fields belong to the control thread. */
struct restart {
    struct file_watcher watcher;
    struct reload_pipe told; /* results of the checker */
    pid_t checker;           /* the child that checks the new code, 0 = none */
    bool due;                /* a check will begin ... */
    int64_t next_ms;         /* ... at this time, in clock_ms() */
    bool new_code;           /* the reason is new code, not a limit */
    bool check_failed;       /* the last one: older code goes on */
    unsigned needs_recycle;  /* how many limits have been reached */
    unsigned failures;       /* failed checks in a row */
};

void restart_init(struct restart *r, const struct config *config);

/* Ends the child that checks the new code, if there is one. */
void restart_cancel(struct restart *r);

void restart_fini(struct restart *r);

/* How soon to call restart_is_due() again; at most max_ms. */
int restart_pause(const struct restart *r, int64_t now_ms, int max_ms);

/* asked: a signal asks for new code. needs_recycle: how many limits have been
 * reached so far. True when the program should be executed again now. */
bool restart_is_due(struct restart *r, const struct config *config,
                    int64_t now_ms, bool asked, unsigned needs_recycle);

#endif
