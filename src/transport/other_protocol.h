/*
 * other_protocol.h - a client that does not speak FastCGI
 *
 * What:      recognizes HTTP, TLS, uwsgi, SCGI and the PROXY protocol by their
 *            first bytes, logs what to change, and answers HTTP.
 * Owner:     the caller's, all of it.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none: an answer that cannot be sent is lost.        Blocks: never.
 */
#ifndef TRANSPORT_OTHER_PROTOCOL_H
#define TRANSPORT_OTHER_PROTOCOL_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True if the first n bytes of a connection, which are no FastCGI record, are
 * too few to tell: more may show a protocol that is known here. */
CHECK_RESULT bool other_protocol_needs_more(const uint8_t *p, size_t n);

/* The first n bytes of the connection fd are no FastCGI record. Logs at most
 * one line a minute. The caller closes fd. */
void other_protocol_refuse(int fd, const uint8_t *p, size_t n);

#endif
