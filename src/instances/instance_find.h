/*
 * instance_find.h - the warm instances of this user
 *
 * What:      looks into each folder where --keep-warm may have put sockets, and
 *            asks each instance that lives what it does.
 * Owner:     the caller: instance_find() to instance_list_fini().
 * Threads:   one.                                                GIL: not used.
 * Errors:    EX_OSERR after a log line. A folder that cannot be used, and an
 *            instance that does not answer, are a warning each.
 * Blocks:    up to timeout_ms for each instance that does not answer.
 */
#ifndef INSTANCES_INSTANCE_FIND_H
#define INSTANCES_INSTANCE_FIND_H

#include "base/compiler.h"
#include "warm/warm_folder.h"
#include "warm/warm_name.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct instance {
    const struct warm_folder *folder;
    struct warm_name name;
    pid_t pid;    /* of its master */
    int process;  /* a pidfd of it; negative before Linux 5.3 */
    char *script; /* as on its status page; "" = not known */
    /* Below here: only if it has answered. */
    bool answers;
    uint64_t age_s, workers, requests, memory_kib;
};

enum { INSTANCE_FOLDERS_MAX = 8 };

struct instance_list {
    struct warm_folder folders[INSTANCE_FOLDERS_MAX];
    size_t nfolders;
    struct instance *v; /* those of one folder follow each other */
    size_t n, room;
};

/* option: for the log. 0 or EX_OSERR; ret is to be freed either way. */
CHECK_RESULT int instance_find(struct instance_list *ret, const char *option,
                               int64_t timeout_ms);

/* Removes those for which keep() is false. */
void instance_list_keep(struct instance_list *l,
                        bool (*keep)(const struct instance *i, void *arg),
                        void *arg);
void instance_list_fini(struct instance_list *l);

#endif
