/*
 * address.h - a socket address as written on the command line
 *
 * What:      reads unix:PATH, /PATH, @NAME, HOST:PORT, [IPV6]:PORT and :PORT
 *            (loopback), for listening and for connecting; writes them.
 * Owner:     the caller.
 * Threads:   any.                                                GIL: not used.
 * Errors:    0, or EX_USAGE after one log line with what was expected.
 * Blocks:    never: names of hosts are not looked up.
 */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include "base/compiler.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

union sockaddr_any {
    struct sockaddr any;
    struct sockaddr_un un;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_storage storage;
};

struct address {
    union sockaddr_any u;
    socklen_t len;
    bool is_tcp;  /* else a unix socket */
    bool is_file; /* a unix socket with a name in the file system */
};

/* option is its name for the log line: "--bind". */
CHECK_RESULT int address_parse(const char *option, const char *text,
                               struct address *ret);

enum { ADDRESS_TEXT_SIZE = 116 };

/* For the log: unix:PATH, @NAME, HOST:PORT or [IPV6]:PORT. */
void address_format(const union sockaddr_any *u, socklen_t len,
                    char to[ADDRESS_TEXT_SIZE]);

/* True for a TCP address that only this machine can reach. */
bool address_is_loopback(const struct address *a);

#endif
