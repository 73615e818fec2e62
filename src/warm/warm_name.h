/*
 * warm_name.h - the names of an instance's files
 *
 * What:      two hashes. script is what the instance serves: user, program,
 *            the script by the path that it is called by, and options. version
 *            is what it has read: the stamps of script, program and
 *            tmp/restart.txt, and the options of a #! line, which are part of
 *            the script. A script that was edited has another version, and so
 *            another socket: nothing asks the old instance.
 * Owner:     the caller.
 * Threads:   one.                                                GIL: not used.
 * Errors:    0 or -errno, with a sentence in why; logs nothing.
 * Blocks:    on the file system.
 */
#ifndef WARM_WARM_NAME_H
#define WARM_WARM_NAME_H

#include "base/compiler.h"
#include "conf/config.h"
#include "warm/warm_folder.h"

#include <sys/un.h>

enum {
    WARM_HASH_SIZE = 17, /* 16 hexadecimal digits */
    WARM_ENTRY_SIZE = 17 + 17 + sizeof ".sock" - 1
};

struct warm_name {
    char script[WARM_HASH_SIZE];
    char version[WARM_HASH_SIZE];
};

/* What the files of an instance end with. */
#define WARM_SOCKET ".sock" /* for requests */
#define WARM_CONTROL ".ctl" /* --control */
#define WARM_LOG ".log"     /* its descriptor 2 */

/* argv: the words that the process was started with. */
CHECK_RESULT int warm_name_make(struct warm_name *ret,
                                const struct config *config, char **argv,
                                char why[WARM_WHY_SIZE]);

/* "SCRIPT-VERSION.sock", for the functions that take an open folder. */
void warm_name_entry(const struct warm_name *n, const char *end,
                     char to[WARM_ENTRY_SIZE]);

/* The names in such an entry. False for any other file. */
CHECK_RESULT bool warm_name_parse(struct warm_name *ret, const char *entry,
                                  const char *end);

/* The address of a socket. */
void warm_name_address(const struct warm_folder *f, const struct warm_name *n,
                       const char *end, struct sockaddr_un *to);

#endif
