/*
 * socket_file.h - the file of a unix socket
 *
 * What:      creates it, sets its owner and removes it. Root works only on the
 *            file that it has created, in the directory that it has checked,
 *            since a user who owns the directory may replace the file at any
 *            time.
 * Owner:     the caller.
 * Threads:   start and end only: it changes umask, file system IDs and current
 *            directory for a moment.                             GIL: not used.
 * Errors:    0 or -errno, for socket_file_strerror(); logs nothing.
 * Blocks:    on the file system.
 */
#ifndef NET_SOCKET_FILE_H
#define NET_SOCKET_FILE_H

#include "base/compiler.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>

struct socket_owner {
    uid_t uid; /* -1 = that of the process */
    gid_t gid; /* the same */
    mode_t mode;
};

/* Binds fd to the path of address; a socket file on which nobody listens is
 * replaced. ret_file: the new file. -EEXIST: the path is not a socket.
 * -EADDRINUSE: a process listens there. -ESTALE: another file has replaced the
 * new one. */
CHECK_RESULT int socket_file_bind(int fd, const struct sockaddr_un *address,
                                  socklen_t len,
                                  const struct socket_owner *owner,
                                  struct stat *ret_file);

/* Sets owner and mode, unless the file was created with them. To be called
 * before listen(): until then nobody can connect. */
CHECK_RESULT int socket_file_chown(const char *path, const struct stat *file,
                                   const struct socket_owner *owner);

/* To be called after listen(): 0 where the file still exists. -ESTALE: another
 * program, which started with the same path at the same time, has replaced it,
 * so nobody can connect to our socket. */
CHECK_RESULT int socket_file_check(const char *path, const struct stat *file);

/* Removes the file, unless it is another one by now or does not exist. */
CHECK_RESULT int socket_file_remove(const char *path, const struct stat *file);

const char *socket_file_strerror(int err);

#endif
