/*
 * allow.h - which addresses may connect over TCP
 *
 * What:      a list of CIDR blocks (IPv4, IPv6), from --allow or
 *            FCGI_WEB_SERVER_ADDRS. Unix sockets are guarded by their mode.
 * Owner:     the caller.
 * Threads:   built at start, then read only.                     GIL: not used.
 * Errors:    0 or -EINVAL, -ENOMEM; logs nothing.                Blocks: never.
 * Standards: FastCGI 1.0, 3.2 (FCGI_WEB_SERVER_ADDRS).
 */
#ifndef NET_ALLOW_H
#define NET_ALLOW_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct allow_block {
    uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
    unsigned bits;       /* of 128 */
};

struct allow {
    struct allow_block *blocks;
    size_t n;
    bool any;      /* everyone, said explicitly */
    bool tcp_only; /* FCGI_WEB_SERVER_ADDRS: other peers are refused (3.2) */
};

/* Adds "any", an address or ADDRESS/BITS. */
CHECK_RESULT int allow_add(struct allow *a, const char *text);
void allow_fini(struct allow *a);

/* True where nothing was said. */
bool allow_is_empty(const struct allow *a);

/* An empty list lets everyone in (the listener decided what that may mean).
 * Peers of unix sockets pass, except with tcp_only. */
bool allow_peer(const struct allow *a, const struct sockaddr_storage *peer);

#endif
