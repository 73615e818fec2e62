/*
 * acl.c - the addresses that may connect over TCP
 */
#include "net/acl.h"

#include "base/clock.h"
#include "os/log.h"
#include "text/num.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SAME_LINE_MS = 60000 };

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static int
parse(const char *text, struct acl_block *ret)
{
    char address[INET6_ADDRSTRLEN + 1];
    const char *slash = strchr(text, '/');
    size_t n = slash == NULL ? strlen(text) : (size_t)(slash - text);
    uint64_t bits = 128;
    unsigned base = 0;

    bool bracketed = n >= 2 && text[0] == '[' && text[n - 1] == ']';
    if (bracketed) { /* as in --bind */
        text++;
        n -= 2;
    }
    if (n >= sizeof address) {
        return -EINVAL;
    }
    memcpy(address, text, n);
    address[n] = '\0';
    if (!bracketed && inet_pton(AF_INET, address, ret->address + 12) == 1) {
        memcpy(ret->address, mapped, sizeof mapped);
        base = 96;
    }
    else if (inet_pton(AF_INET6, address, ret->address) != 1) {
        return -EINVAL;
    }
    if (slash != NULL) {
        if (num_parse(slash + 1, strlen(slash + 1), 128 - base, &bits) < 0) {
            return -EINVAL;
        }
        bits += base;
    }
    ret->bits = (unsigned)bits;
    return 0;
}

static int
add_block(struct acl *a, const char *text)
{
    struct acl_block block;
    int e = parse(text, &block);

    if (e < 0) {
        return e;
    }
    struct acl_block *v = realloc(a->blocks, (a->n + 1) * sizeof *v);
    if (v == NULL) {
        return -ENOMEM;
    }
    v[a->n++] = block;
    a->blocks = v;
    return 0;
}

int
acl_add(struct acl *a, const char *text)
{
    if (strcmp(text, "any") == 0) {
        a->any = true;
        return 0;
    }
    if (strcmp(text, "localhost") == 0) {
        int e = add_block(a, "127.0.0.0/8");
        return e < 0 ? e : add_block(a, "::1");
    }
    return add_block(a, text);
}

void
acl_fini(struct acl *a)
{
    free(a->blocks);
    memset(a, 0, sizeof *a);
}

bool
acl_is_empty(const struct acl *a)
{
    return a->n == 0 && !a->any;
}

static bool
matches(const struct acl_block *b, const uint8_t address[16])
{
    unsigned whole = b->bits / 8, rest = b->bits % 8;

    assert(b->bits <= 128);
    if (memcmp(b->address, address, whole) != 0) {
        return false;
    }
    return rest == 0 ||
           ((b->address[whole] ^ address[whole]) >> (8 - rest)) == 0;
}

bool
acl_peer(const struct acl *a, const struct sockaddr_storage *peer)
{
    uint8_t address[16];
    const void *p = peer;

    if (a->any || a->n == 0) {
        return true;
    }
    if (peer->ss_family == AF_INET) {
        const struct sockaddr_in *in = p;
        memcpy(address, mapped, sizeof mapped);
        memcpy(address + 12, &in->sin_addr, 4);
    }
    else if (peer->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = p;
        memcpy(address, &in6->sin6_addr, 16);
    }
    else {
        return !a->tcp_only;
    }
    for (size_t i = 0; i < a->n; i++) {
        if (matches(&a->blocks[i], address)) {
            return true;
        }
    }
    return false;
}

void
acl_log_refused(const struct sockaddr_storage *peer)
{
    static _Atomic(int64_t) due_ms;
    char text[INET6_ADDRSTRLEN] = "a unix socket";
    const void *p = peer;

    if (!clock_is_due(&due_ms, SAME_LINE_MS)) {
        return;
    }
    if (peer->ss_family == AF_INET) {
        const struct sockaddr_in *in = p;
        (void)inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
    }
    else if (peer->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = p;
        (void)inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
    }
    log_notice("a connection from %s is refused: it is not listed in --allow "
               "(or FCGI_WEB_SERVER_ADDRS); this line comes at most once a "
               "minute",
               text);
}

bool
acl_peer_is_ours(int fd)
{
    static _Atomic(int64_t) due_ms;
    struct ucred peer;
    socklen_t len = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0) {
        if (peer.uid == geteuid() || peer.uid == 0) {
            return true;
        }
        if (clock_is_due(&due_ms, SAME_LINE_MS)) {
            log_notice("a connection of user %lu is refused: this instance of "
                       "--keep-warm is for user %lu; this line comes at most "
                       "once a minute",
                       (unsigned long)peer.uid, (unsigned long)geteuid());
        }
    }
    return false;
}
