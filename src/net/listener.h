/*
 * listener.h - listening sockets: bound here, inherited, or from LISTEN_FDS
 *
 * What:      binds and listens at an address, or adopts a descriptor.
 * Owner:     the caller; listener_close() removes a socket file that we made.
 * Threads:   start and end only; the fd is used by all.          GIL: not used.
 * Errors:    0 or a sysexits code after one log line that says what to do.
 * Blocks:    on name resolution (numeric addresses only: no).
 * Standards: FastCGI 1.0, 2.2.
 */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "base/compiler.h"
#include "conf/config.h"
#include "net/acl.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct listener {
    int fd; /* -1 = none */
    bool is_tcp;
    bool is_adopted;  /* somebody else's socket */
    char *path;       /* of a unix socket that we made, else NULL */
    struct stat file; /* what we made, so that only that is removed */
    char name[128];   /* for the log: "unix:/run/app.sock", "127.0.0.1:9000" */
};

/* Binds one address (net/address.h) of --bind or --control; option is its name,
 * for the log. Addresses that are not loopback need allow. 0, EX_USAGE (not an
 * address; not allowed), EX_UNAVAILABLE (in use) or EX_OSERR. */
CHECK_RESULT int listener_bind(struct listener *l, const char *option,
                               const char *text, const struct config *config,
                               const struct acl *allow);

/* Takes over a listening socket somebody else made. 0 or EX_USAGE. */
CHECK_RESULT int listener_adopt(struct listener *l, int fd);

/* Takes over the socket that an earlier run of this program bound to address
 * (NULL: adopted even then), on its own descriptor. file: what it had made there, of
 * which st_dev and st_ino count (st_ino 0: nothing). 0 or EX_USAGE. */
CHECK_RESULT int listener_inherit(struct listener *l, int fd,
                                  const char *address, const struct stat *file);

/* Removes the socket file we made, if it is still that. */
void listener_unlink(struct listener *l);

/* Closes it; unlink_file also removes the socket file we made. */
void listener_close(struct listener *l, bool unlink_file);

#endif
