/*
 * unix_diag.h - what the kernel knows of unix sockets (sock_diag(7))
 *
 * What:      the connections that wait at a listening socket, by which socket of
 *            the client one was made, and what that has sent. Needs no rights, but the
 *            address family AF_NETLINK (systemd: RestrictAddressFamilies=), and
 *            a socket of this network namespace.
 * Owner:     nobody: each call opens a netlink socket and closes it.
 * Threads:   any.                                                GIL: not used.
 * Errors:    0 or -errno; logs nothing.
 * Blocks:    never: the kernel answers within the system call. It looks through
 *            all unix sockets for the one in question, which takes about 0.1 ms
 *            for each thousand.
 */
#ifndef QUEUE_UNIX_DIAG_H
#define QUEUE_UNIX_DIAG_H

#include "base/compiler.h"

#include <stddef.h>
#include <stdint.h>

/* How many connections wait at a listening unix socket, and how many may.
 * -ENOTCONN: it does not listen (any more). */
CHECK_RESULT int unix_diag_queue(int listen_fd, unsigned *ret_waiting,
                                 unsigned *ret_max);

/* Calls add() for each connection that waits there, the oldest one first, with
 * the inode number of the client's socket; 0 = the client has left. */
CHECK_RESULT int unix_diag_waiting(int listen_fd,
                                   void (*add)(void *arg, uint32_t inode),
                                   void *arg);

/* The inode number of the client's socket of an accepted connection; 0 = the
 * client has left. */
CHECK_RESULT int unix_diag_peer(int fd, uint32_t *ret_inode);

/* What a connected socket has sent and its peer has not read yet, in bytes of
 * the kernel's memory; 0 = nothing. */
CHECK_RESULT int unix_diag_unread(uint32_t inode, uint32_t *ret_bytes);

/* Calls add() with the same of each connected unix socket. */
CHECK_RESULT int unix_diag_each_unread(void (*add)(void *arg, uint32_t inode,
                                                   uint32_t bytes),
                                       void *arg);

#endif
