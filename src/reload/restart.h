/*
 * restart.h - the same program again, on the same pid and the same sockets
 *
 * What:      how a process without a master takes new code: a spawner (lighttpd,
 *            supervisord) must not see it end. First a child tries with --check
 *            whether the new code loads; if not, the old goes on.
 * Owner:     the process; restart_remember() once.
 * Threads:   restart_remember() main thread; restart_exec() any, the others end
 *            with it; the rest the control thread.                    GIL: not used.
 * Errors:    logs.                      Blocks: never (restart_exec() does not
 *            return but on failure).
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

/* Keeps what the program was started with: words, environment, folder. Before
 * anything changes them. 0 or -ENOMEM. */
CHECK_RESULT int restart_remember(char **argv, char **environment);

/* True where the program before us was this one, on the same pid. */
bool restart_is_one(void);

enum { RESTART_LISTENERS_MAX = 64 };

/* What one run of the program hands over to the next. */
struct restart_fds {
    int listeners[RESTART_LISTENERS_MAX];
    size_t nlisteners; /* none: there was no run before this one */
    int control_fd;    /* the socket of --control, -1 = none */
    /* What was made for each of them, the last one for control_fd: st_dev and
     * st_ino, which is 0 where there is no file. */
    struct stat files[RESTART_LISTENERS_MAX + 1];
    int notify_fd;                /* the connection to systemd, -1 = none */
    struct fd_passing fd_passing; /* idle connections wait in it */
    int access_fd;                /* the file of --access-log, -1 = none */
};

/* What the program before us handed over. Call once. */
void restart_inherited(struct restart_fds *ret);

/* Executes the program again with these. Returns only if it cannot: -errno. */
CHECK_RESULT int restart_exec(const struct restart_fds *fds);

/* In the child that tries new code: where to say that it loads, or which files
 * took part in a failure; -1 = nobody asks. Call once, before Python starts. */
CHECK_RESULT int restart_check_fd(void);

/* In that child, once it is the user it will be: it ends with its parent. */
void restart_check_bind(int check_fd);

/* The control thread's view. */
struct restart {
    struct file_watcher watcher;
    struct reload_pipe told; /* by the checker: that it loads, files to watch */
    pid_t checker;           /* the child that tries the new code, 0 = none */
    bool due;                /* a check is to begin ... */
    int64_t next_ms;         /* ... at this time of clock_ms() */
    bool new_code;           /* it is about new code, not about a limit */
    unsigned needs_recycle;  /* limits that were reached */
    unsigned failures;       /* checks, one after the other */
};

void restart_init(struct restart *r, const struct config *config);

/* Ends the child that tries the new code, if one does. */
void restart_cancel(struct restart *r);

void restart_fini(struct restart *r);

/* How soon restart_is_due() wants to be asked again; at most max_ms. */
int restart_pause(const struct restart *r, int64_t now_ms, int max_ms);

/* asked: by a signal; needs_recycle: how many limits were reached so far. True when the
 * program should be executed again now. */
bool restart_is_due(struct restart *r, const struct config *config,
                    int64_t now_ms, bool asked, unsigned needs_recycle);

#endif
