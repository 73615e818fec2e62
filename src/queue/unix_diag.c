#include "queue/unix_diag.h"

#include "os/fd.h"

#include <assert.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { REPLY_MAX = 32 << 10 }; /* the kernel makes its messages as large */

/* The kernel's macros for them have the type int. */
#define ATTRIBUTE_HEAD sizeof(struct nlattr)
#define NEXT_ATTRIBUTE(LENGTH) (((size_t)(LENGTH) + 3) & ~(size_t)3)
#define ANY_COOKIE UINT32_MAX

/* What is wanted of one socket, or of each. */
struct wanted {
    uint32_t inode;     /* 0 = of each */
    uint8_t state;      /* TCP_LISTEN, TCP_ESTABLISHED; 0 = any */
    uint32_t show;      /* UDIAG_SHOW_... */
    uint16_t attribute; /* UNIX_DIAG_... */
    void (*found)(void *arg, uint32_t inode, const char *value, size_t n);
    void *arg;
};

static int
send_request(int netlink, const struct wanted *w, bool dump)
{
    struct {
        struct nlmsghdr head;
        struct unix_diag_req body;
    } q = {
        .head = {.nlmsg_len = sizeof q,
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags =
                     (uint16_t)(NLM_F_REQUEST | (dump ? NLM_F_DUMP : 0))},
        .body = {.sdiag_family = AF_UNIX,
                 .udiag_states = w->state != 0 ? 1u << w->state : UINT32_MAX,
                 .udiag_ino = w->inode,
                 .udiag_show = w->show,
                 .udiag_cookie = {ANY_COOKIE, ANY_COOKIE}},
    };

    return send(netlink, &q, sizeof q, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* One message about a socket. 1 = it is the only one that is wanted; 0;
 * -errno. */
static int
read_socket(const struct wanted *w, const char *at, size_t n)
{
    struct unix_diag_msg about;

    if (n < sizeof about) {
        return -EPROTO;
    }
    memcpy(&about, at, sizeof about);
    if (w->inode != 0 && about.udiag_ino != w->inode) {
        return 0;
    }
    if (w->state != 0 && about.udiag_state != w->state) {
        return -ENOTCONN;
    }
    for (size_t i = sizeof about; i + ATTRIBUTE_HEAD <= n;) {
        struct nlattr a;
        memcpy(&a, at + i, sizeof a);
        if (a.nla_len < ATTRIBUTE_HEAD || a.nla_len > n - i) {
            return -EPROTO;
        }
        if (a.nla_type == w->attribute) {
            w->found(w->arg, about.udiag_ino, at + i + ATTRIBUTE_HEAD,
                     a.nla_len - ATTRIBUTE_HEAD);
            return w->inode != 0 ? 1 : 0;
        }
        i += NEXT_ATTRIBUTE(a.nla_len);
    }
    return w->inode != 0 ? -ENOENT : 0;
}

/* One message. 1 = the socket was found, or there will be no more; 0; -errno. */
static int
read_message(const struct wanted *w, const struct nlmsghdr *head,
             const char *at, size_t n)
{
    struct nlmsgerr e;

    switch (head->nlmsg_type) {
    case SOCK_DIAG_BY_FAMILY:
        return read_socket(w, at, n);
    case NLMSG_ERROR:
        if (n < sizeof e) {
            return -EPROTO;
        }
        memcpy(&e, at, sizeof e);
        return e.error < 0 ? e.error : -EPROTO;
    case NLMSG_DONE:
        return w->inode != 0 ? -ENOENT : 1;
    default:
        return 0;
    }
}

/* What one recv() has brought, in the same way. */
static int
read_messages(const struct wanted *w, const char *at, size_t n)
{
    int found = 0;

    while (found == 0 && n >= NLMSG_HDRLEN) {
        struct nlmsghdr head;
        memcpy(&head, at, sizeof head);
        if (head.nlmsg_len < NLMSG_HDRLEN || head.nlmsg_len > n) {
            return -EPROTO;
        }
        found = read_message(w, &head, at + NLMSG_HDRLEN,
                             head.nlmsg_len - NLMSG_HDRLEN);
        size_t whole = NLMSG_ALIGN((size_t)head.nlmsg_len);
        at += whole < n ? whole : n;
        n -= whole < n ? whole : n;
    }
    return found;
}

static int
ask(int netlink, const struct wanted *w, bool dump)
{
    char reply[REPLY_MAX];
    int found = send_request(netlink, w, dump);

    while (found == 0) {
        ssize_t n = recv(netlink, reply, sizeof reply, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        found = n < 0    ? -errno
                : n == 0 ? -EPROTO
                         : read_messages(w, reply, (size_t)n);
    }
    return found < 0 ? found : 0;
}

/* The kernel gives the answer for one socket only a page of memory. A long
 * queue does not fit; then the answer for all sockets is asked for. */
static int
ask_kernel(const struct wanted *w)
{
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
                         NETLINK_SOCK_DIAG);

    if (netlink < 0) {
        return -errno;
    }
    int e = ask(netlink, w, w->inode == 0);
    if (e == -EMSGSIZE && w->inode != 0) {
        e = ask(netlink, w, true);
    }
    fd_close(&netlink);
    return e;
}

static int
ask_about(int fd, struct wanted *w)
{
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        return fd < 0 ? -EBADF : -errno;
    }
    w->inode = (uint32_t)st.st_ino;
    return w->inode == 0 ? -ENOENT : ask_kernel(w);
}

static void
take_lengths(void *arg, uint32_t inode UNUSED, const char *value, size_t n)
{
    struct unix_diag_rqlen *to = arg;

    if (n >= sizeof *to) {
        memcpy(to, value, sizeof *to);
    }
}

int
unix_diag_queue(int listen_fd, unsigned *ret_waiting, unsigned *ret_max)
{
    struct unix_diag_rqlen lengths = {0, 0};
    struct wanted w = {.state = TCP_LISTEN,
                       .show = UDIAG_SHOW_RQLEN,
                       .attribute = UNIX_DIAG_RQLEN,
                       .found = take_lengths,
                       .arg = &lengths};
    int e = ask_about(listen_fd, &w);

    if (e == 0) {
        *ret_waiting = lengths.udiag_rqueue;
        *ret_max = lengths.udiag_wqueue;
    }
    return e;
}

struct waiting {
    void (*add)(void *arg, uint32_t inode);
    void *arg;
};

static void
take_waiting(void *arg, uint32_t listener UNUSED, const char *value, size_t n)
{
    const struct waiting *w = arg;

    for (size_t i = 0; i + sizeof(uint32_t) <= n; i += sizeof(uint32_t)) {
        uint32_t inode;
        memcpy(&inode, value + i, sizeof inode);
        w->add(w->arg, inode);
    }
}

int
unix_diag_waiting(int listen_fd, void (*add)(void *arg, uint32_t inode),
                  void *arg)
{
    struct waiting to = {.add = add, .arg = arg};
    struct wanted w = {.state = TCP_LISTEN,
                       .show = UDIAG_SHOW_ICONS,
                       .attribute = UNIX_DIAG_ICONS,
                       .found = take_waiting,
                       .arg = &to};

    return ask_about(listen_fd, &w);
}

static void
take_peer(void *arg, uint32_t inode UNUSED, const char *value, size_t n)
{
    uint32_t *to = arg;

    if (n >= sizeof *to) {
        memcpy(to, value, sizeof *to);
    }
}

int
unix_diag_peer(int fd, uint32_t *ret_inode)
{
    uint32_t peer = 0;
    struct wanted w = {.show = UDIAG_SHOW_PEER,
                       .attribute = UNIX_DIAG_PEER,
                       .found = take_peer,
                       .arg = &peer};
    int e = ask_about(fd, &w);

    *ret_inode = peer;
    return e;
}

int
unix_diag_unread(uint32_t inode, uint32_t *ret_bytes)
{
    struct unix_diag_rqlen lengths = {0, 0};
    struct wanted w = {.inode = inode,
                       .state = TCP_ESTABLISHED,
                       .show = UDIAG_SHOW_RQLEN,
                       .attribute = UNIX_DIAG_RQLEN,
                       .found = take_lengths,
                       .arg = &lengths};

    assert(inode != 0);
    int e = ask_kernel(&w);
    *ret_bytes = lengths.udiag_wqueue;
    return e;
}

struct unread {
    void (*add)(void *arg, uint32_t inode, uint32_t bytes);
    void *arg;
};

static void
take_unread(void *arg, uint32_t inode, const char *value, size_t n)
{
    const struct unread *u = arg;
    struct unix_diag_rqlen lengths = {0, 0};

    take_lengths(&lengths, inode, value, n);
    u->add(u->arg, inode, lengths.udiag_wqueue);
}

int
unix_diag_each_unread(void (*add)(void *arg, uint32_t inode, uint32_t bytes),
                      void *arg)
{
    struct unread to = {.add = add, .arg = arg};
    const struct wanted w = {.state = TCP_ESTABLISHED,
                             .show = UDIAG_SHOW_RQLEN,
                             .attribute = UNIX_DIAG_RQLEN,
                             .found = take_unread,
                             .arg = &to};

    return ask_kernel(&w);
}
