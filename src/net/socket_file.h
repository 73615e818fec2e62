/*
 * socket_file.h - the file of a unix socket
 *
 * What:      made, given to its owner and removed. What root does, it does to what
 *            it has made, in the folder that it has looked at: the folder may be
 *            of a user who puts something else there in the same moment.
 * Owner:     the caller.
 * Threads:   start and end only: for a moment the umask, the ids for files and the
 *            working folder are others.                      GIL: not used.
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
    uid_t uid; /* -1 = who makes it */
    gid_t gid; /* likewise */
    mode_t mode;
};

/* Binds fd at the path of address, in place of a socket file that nobody listens
 * on. ret_file: what was made. -EEXIST: there is a file that is no socket.
 * -EADDRINUSE: somebody listens there. -ESTALE: somebody has put something else in
 * its place. */
CHECK_RESULT int socket_file_bind(int fd, const struct sockaddr_un *address,
                                  socklen_t len,
                                  const struct socket_owner *owner,
                                  struct stat *ret_file);

/* Owner and mode where they could not be had from the beginning. Before listen():
 * until then nobody can connect. */
CHECK_RESULT int socket_file_give(const char *path, const struct stat *file,
                                  const struct socket_owner *owner);

/* After listen(): 0 where it is still there. -ESTALE: another program, which starts
 * at the same path at the same time, has taken it for a stale one in between, and
 * nobody will ever connect to ours. */
CHECK_RESULT int socket_file_check(const char *path, const struct stat *file);

/* Removes it; nothing where it is another file by now, or none. */
CHECK_RESULT int socket_file_remove(const char *path, const struct stat *file);

const char *socket_file_strerror(int err);

#endif
