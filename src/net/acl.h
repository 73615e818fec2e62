/*
 * acl.h - the addresses that may connect over TCP
 *
 * What:      a list of CIDR blocks (IPv4, IPv6), from --allow or
 *            FCGI_WEB_SERVER_ADDRS. The mode of a unix socket protects it; of
 *            an instance of --keep-warm, the user of the peer is checked, too.
 * Owner:     the caller.
 * Threads:   built at start, then read only.                     GIL: not used.
 * Errors:    0 or -EINVAL, -ENOMEM; logs nothing.                Blocks: never.
 * Standards: FastCGI 1.0, 3.2 (FCGI_WEB_SERVER_ADDRS).
 */
#ifndef NET_ACL_H
#define NET_ACL_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct acl_block {
    uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
    unsigned bits;       /* of 128 */
};

struct acl {
    struct acl_block *blocks;
    size_t n;
    bool any;      /* "any" was added: all may connect */
    bool tcp_only; /* FCGI_WEB_SERVER_ADDRS: other sockets are refused (3.2) */
};

/* Adds "any", "localhost" (IPv4 and IPv6), an address or ADDRESS/BITS. */
CHECK_RESULT int acl_add(struct acl *a, const char *text);
void acl_fini(struct acl *a);

/* True where nothing was added. */
bool acl_is_empty(const struct acl *a);

/* True where the peer may connect. With an empty list all may: the listener
 * has checked that this is safe. Peers of unix sockets may, except with
 * tcp_only. */
bool acl_peer(const struct acl *a, const struct sockaddr_storage *peer);

/* Logs that it may not, at most once a minute. */
void acl_log_refused(const struct sockaddr_storage *peer);

/* True where the peer of the unix socket fd runs as our user or as root. Else
 * logs that it is refused, at most once a minute. */
bool acl_peer_is_ours(int fd);

#endif
