/*
 * nursery.h - the zygotes of a master, one for each generation of the code
 *
 * What:      starts them, talks to them, lets them go. A zygote outlives the
 *            workers it has forked: what the application has made at import and
 *            undoes at exit is theirs, too.
 * Owner:     the master; pointers to zygotes stay good.
 * Threads:   one.                                                GIL: not used.
 * Errors:    0 or -errno.                                        Blocks: never.
 */
#ifndef MASTER_NURSERY_H
#define MASTER_NURSERY_H

#include "base/compiler.h"
#include "master/zygote.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { NURSERY_ROOM = 16 };

enum zygote_state {
    ZYGOTE_NONE,
    ZYGOTE_LOADING,
    ZYGOTE_LOADED, /* forks workers */
    ZYGOTE_BROKEN, /* forks workers that answer with error pages */
    ZYGOTE_LEAVING /* told to end, or killed */
};

struct zygote {
    enum zygote_state state;
    pid_t pid;
    int fd;              /* to it; open unless NONE */
    unsigned generation; /* of the code it has */
    int64_t born_ms;     /* clock_ms() */
    int64_t kill_at;     /* LEAVING: clock_ms(); 0 = killed already */
    bool hurried;        /* ... asked to be quick before that */
};

/* Zeroed is empty. */
struct nursery {
    struct zygote v[NURSERY_ROOM];
};

/* Forks one. 0 in the new process, with its end of the connection in *ret_fd; the
 * pid in the master; -EAGAIN where there is no room now, or another -errno. Our
 * signals are held in the new process, until signals_open(). */
CHECK_RESULT pid_t nursery_fork(struct nursery *n, unsigned generation,
                                int *ret_fd);

/* In a process that the master has forked: closes the connections, or the others
 * would not see the master's end. */
void nursery_forget(struct nursery *n);

/* The one of this generation that is not leaving; NULL = none. */
struct zygote *nursery_find(struct nursery *n, unsigned generation);

/* The newest that has loaded and is of an older generation; NULL = none. */
struct zygote *nursery_former(struct nursery *n, unsigned generation);

/* Without room for another: the oldest that is neither of this generation nor the
 * former one. NULL = there is room, or will be: one is leaving. */
struct zygote *nursery_surplus(struct nursery *n, unsigned generation);

struct zygote *nursery_of_pid(struct nursery *n, pid_t pid);

/* True where it can be asked for workers. */
bool zygote_is_able(const struct zygote *z);

/* Asks for a worker in this slot. */
CHECK_RESULT int zygote_ask(const struct zygote *z, unsigned slot);

/* The next thing it has said; false = nothing. */
bool zygote_hear(struct zygote *z, struct zygote_report *ret);

/* Lets it end: at once while it loads, else by running what Python runs at exit,
 * until kill_at (clock_ms()). Again: only kill_at counts, where it is earlier. */
void zygote_dismiss(struct zygote *z, int64_t kill_at);

/* One that should have left by now: is asked to leave its threads behind, then
 * killed. */
void zygote_press(struct zygote *z, int64_t now_ms);

/* Ends it now, whatever it does. */
void zygote_kill(struct zygote *z);

bool zygote_is_killed(const struct zygote *z);

/* Its process has ended: room for another. */
void zygote_bury(struct zygote *z);

#endif
