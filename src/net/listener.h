/*
 * listener.h - listening sockets: bound here, inherited, or from LISTEN_FDS
 *
 * What:      binds and listens at an address, or adopts a descriptor.
 * Owner:     the caller; listener_close() can remove the socket file.
 * Threads:   start and end only; all threads use fd.             GIL: not used.
 * Errors:    0, or a sysexits code after one log line.
 * Blocks:    on the file system and, for --socket-owner, the name services.
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
    bool is_adopted;  /* another process has bound the socket */
    char *path;       /* of a socket file that we have created, else NULL */
    struct stat file; /* its inode, so that no other file is removed */
    char name[128];   /* for the log: "unix:/run/app.sock", "127.0.0.1:9000",
                       * "unix:/run/app.sock (inherited)" */
};

/* Binds an address (net/address.h) and listens. option, --bind or --control, is
 * for the log. TCP addresses other than loopback need a list of allowed peers.
 * 0, EX_USAGE, EX_UNAVAILABLE (in use), EX_NOPERM or EX_OSERR. */
CHECK_RESULT int listener_bind(struct listener *l, const char *option,
                               const char *text, const struct config *config,
                               const struct acl *allow);

/* Takes over a listening socket of another process. 0, EX_USAGE or EX_OSERR. */
CHECK_RESULT int listener_adopt(struct listener *l, int fd);

/* Takes over the socket that an earlier run of this program bound to address
 * (NULL: it had adopted it). file has st_dev and st_ino of the socket file,
 * st_ino 0 = none. Closes fd. 0, EX_USAGE or EX_OSERR. */
CHECK_RESULT int listener_inherit(struct listener *l, int fd,
                                  const char *address, const struct stat *file);

/* Takes over the unix socket fd as if this program had bound it: a CGI process
 * with --keep-warm has done so for it. fd stays open. 0, EX_USAGE or
 * EX_OSERR. */
CHECK_RESULT int listener_take_over(struct listener *l, int fd);

/* True where a connection waits at a socket that nobody else accepts on. */
bool listener_somebody_waits(const struct listener *l);

/* Removes the socket file that we have created, if it is still the same. */
void listener_unlink(struct listener *l);

/* Closes the socket; unlink_file: and calls listener_unlink(). */
void listener_close(struct listener *l, bool unlink_file);

#endif
