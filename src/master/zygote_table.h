/*
 * zygote_table.h - the zygotes of a master, one for each generation of the code
 *
 * What:      starts them, sends and receives messages, ends them. A zygote
 *            outlives the workers it has forked: they use what the application
 *            creates at import and removes at exit.
 * Owner:     the master; pointers to zygotes stay valid.
 * Threads:   one.                                                GIL: not used.
 * Errors:    0 or -errno.                                        Blocks: never.
 */
#ifndef MASTER_ZYGOTE_TABLE_H
#define MASTER_ZYGOTE_TABLE_H

#include "base/compiler.h"
#include "master/zygote.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { ZYGOTE_TABLE_SIZE = 16 };

enum zygote_state {
    ZYGOTE_NONE,
    ZYGOTE_LOADING,
    ZYGOTE_LOADED, /* forks workers */
    ZYGOTE_BROKEN, /* forks workers that answer with error pages */
    ZYGOTE_LEAVING /* asked to end, or killed */
};

struct zygote {
    enum zygote_state state;
    pid_t pid;
    int fd;              /* to it; open unless NONE */
    unsigned generation; /* of the code it has */
    int64_t started_ms;  /* clock_ms() */
    int64_t kill_at;     /* LEAVING: clock_ms(); 0 = killed already */
    bool hurried;        /* LEAVING: it has got SIGQUIT */
};

/* Zeroed is empty. */
struct zygote_table {
    struct zygote v[ZYGOTE_TABLE_SIZE];
};

/* Forks one. 0 in the new process, with its end of the connection in *ret_fd;
 * the pid in the master; -EAGAIN where there is no room now, or another -errno.
 * Our signals are held in the new process, until signals_open(). */
CHECK_RESULT pid_t zygote_table_fork(struct zygote_table *n,
                                     unsigned generation, int *ret_fd);

/* In a process that the master has forked: closes the connections, or the
 * others would not see the master's end. */
void zygote_table_forget(struct zygote_table *n);

/* The one of this generation that is not leaving; NULL = none. */
struct zygote *zygote_table_find(struct zygote_table *n, unsigned generation);

/* The newest that has loaded and is of an older generation; NULL = none. */
struct zygote *zygote_table_former(struct zygote_table *n, unsigned generation);

/* Without room for another: the oldest that is neither of this generation nor
 * the former one. NULL = there is room, or will be: one is leaving. */
struct zygote *zygote_table_surplus(struct zygote_table *n,
                                    unsigned generation);

struct zygote *zygote_table_of_pid(struct zygote_table *n, pid_t pid);

/* True where it can fork workers. */
bool zygote_is_able(const struct zygote *z);

/* Asks for a worker in this slot. */
CHECK_RESULT int zygote_ask(const struct zygote *z, unsigned slot);

/* The next message from it; false = there is none. */
bool zygote_read_message(struct zygote *z, struct zygote_report *ret);

/* Ends it: at once while it loads. Else it runs what Python runs at exit,
 * and may take until kill_at (clock_ms()). Again: only an earlier kill_at
 * counts. */
void zygote_dismiss(struct zygote *z, int64_t kill_at);

/* In every round: one that should have ended by now gets SIGQUIT, so that it
 * leaves its threads behind, and SIGKILL after that. */
void zygote_escalate(struct zygote *z, int64_t now_ms);

/* Ends it at once, whatever it does. */
void zygote_kill(struct zygote *z);

bool zygote_is_killed(const struct zygote *z);

/* Its process has ended: frees its place. */
void zygote_reap(struct zygote *z);

#endif
