/*
 * listener.c - listening sockets: bound here, inherited, or from LISTEN_FDS
 */
#include "net/listener.h"

#include "net/address.h"
#include "net/socket_file.h"
#include "os/fd.h"
#include "os/log.h"
#include "os/path_access.h"
#include "os/safe_path.h"
#include "os/user_lookup.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* -- unix sockets ---------------------------------------------------------- */

/* USER, USER:GROUP or :GROUP; a missing part is -1. */
static int
parse_owner(const char *text, uid_t *ret_uid, gid_t *ret_gid)
{
    struct user_entry account;
    char user[USER_NAME_SIZE];
    size_t n = strcspn(text, ":");

    *ret_uid = (uid_t)-1;
    *ret_gid = (gid_t)-1;
    if (n >= sizeof user) {
        return -ENOENT;
    }
    memcpy(user, text, n);
    user[n] = '\0';
    if (n > 0) {
        if (user_lookup(user, &account) < 0) {
            return -ENOENT;
        }
        *ret_uid = account.uid;
        *ret_gid = account.gid;
    }
    return text[n] == ':' ? group_lookup(text + n + 1, ret_gid) : 0;
}

/* Without --socket-owner the file belongs to --user and --group. */
static int
default_owner(const struct config *config, uid_t *ret_uid, gid_t *ret_gid)
{
    struct user_entry account;

    *ret_uid = (uid_t)-1;
    *ret_gid = (gid_t)-1;
    if (config->user != NULL) {
        if (user_lookup(config->user, &account) < 0) {
            return -ENOENT;
        }
        *ret_uid = account.uid;
        *ret_gid = account.gid;
    }
    return config->group == NULL ? 0 : group_lookup(config->group, ret_gid);
}

/* To be called before the file is created: it may fail. */
static int
find_owner(const struct config *config, struct socket_owner *ret)
{
    const char *owner = config->socket_owner;
    int e;

    *ret = (struct socket_owner){.mode = config->socket_mode};
    if (owner == NULL) {
        owner = "--user and --group";
        e = default_owner(config, &ret->uid, &ret->gid);
    }
    else {
        e = parse_owner(owner, &ret->uid, &ret->gid);
    }
    if (e < 0) {
        log_error("--socket-owner: invalid value \"%s\": expected USER, "
                  "USER:GROUP or :GROUP with users and groups of this system, "
                  "or numbers",
                  owner);
        return EX_USAGE;
    }
    return 0;
}

/* The option that names the owner, for the log. */
static const char *
owner_option(const struct config *config, const char **ret_value)
{
    if (config->socket_owner != NULL) {
        *ret_value = config->socket_owner;
        return "--socket-owner";
    }
    *ret_value = config->user != NULL ? config->user : config->group;
    return config->user != NULL ? "--user" : "--group";
}

/* Root can do it, except where the file system has no owners. */
static int
owner_failed(const struct listener *l, const struct config *config, int err)
{
    const char *value;
    const char *option = owner_option(config, &value);
    bool is_refused = err == EPERM || err == EACCES;

    if (value == NULL) {
        log_error("--socket-mode: %s cannot have mode 0%o: %s", l->path,
                  (unsigned)config->socket_mode, socket_file_strerror(-err));
    }
    else {
        log_error("%s: %s: the socket %s cannot be given to this owner: %s%s",
                  option, value, l->path, socket_file_strerror(-err),
                  is_refused && geteuid() != 0
                      ? ": only root can give it to another user, and others "
                        "only to a group that they belong to"
                      : "");
    }
    return is_refused ? EX_NOPERM : EX_OSERR;
}

static int
set_owner(const struct listener *l, const struct socket_owner *owner,
          const struct config *config)
{
    assert(l->path != NULL);
    int e = socket_file_chown(l->path, &l->file, owner);

    return e < 0 ? owner_failed(l, config, -e) : 0;
}

/* -- all sockets ----------------------------------------------------------- */

enum { WHY_MAX = 2 * PATH_MAX + 256 };

/* ss(8) shows the process, to root also that of another user. */
static void
say_in_use(const char *option, const char *text, const struct address *a)
{
    const char *what = a->is_tcp                        ? strrchr(text, ':')
                       : strncmp(text, "unix:", 5) == 0 ? text + 5
                                                        : text;

    assert(what != NULL); /* or it would be no address */
    log_error("%s: %s is in use: another process listens there; to see which: "
              "ss %s %s",
              option, text, a->is_tcp ? "-ltnp sport" : "-lxp src", what);
}

/* What the error of a socket without a file means. */
static const char *
socket_reason(int err)
{
    switch (err) {
    case EACCES:
        return "only root may listen on this port; choose one from 1024 on";
    case EADDRNOTAVAIL:
        return "no network interface of this machine has this address; ip addr "
               "lists those that it has";
    case EAFNOSUPPORT:
        return "this machine has no IPv6; choose an IPv4 address";
    default:
        return strerror(err);
    }
}

static int
bind_failed(const char *option, const char *text, const struct address *a,
            int err)
{
    char why[WHY_MAX];

    if (err == EADDRINUSE) {
        say_in_use(option, text, a);
        return EX_UNAVAILABLE;
    }
    if (err == EEXIST) {
        log_error("%s: %s exists and is not a socket: remove it, or choose "
                  "another path",
                  option, text);
        return EX_UNAVAILABLE;
    }
    const char *reason =
        a->is_file
            ? path_write_reason(a->u.un.sun_path, -err,
                                socket_file_strerror(-err), why, sizeof why)
            : socket_reason(err);
    log_error("%s: %s: %s%s", option, text, reason,
              reason != why   ? ""
              : err == ENOENT ? "; create it first"
                              : "; choose another folder, or start as root "
                                "with --user");
    return err == EACCES || err == EPERM ? EX_NOPERM : EX_UNAVAILABLE;
}

static void
set_options(int fd, int family)
{
    const int on = 1;

    if (family == AF_UNIX) {
        return;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    /* Accepted sockets inherit it, without a system call for each. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    }
}

static int
bind_file(struct listener *l, const char *option, const char *text,
          const struct address *a, const struct config *config)
{
    struct socket_owner owner;
    int r = find_owner(config, &owner);

    if (r != 0) {
        return r;
    }
    r = socket_file_bind(l->fd, &a->u.un, a->len, &owner, &l->file);
    if (r == 0) {
        l->path = strdup(a->u.un.sun_path);
        r = l->path == NULL ? -ENOMEM : 0;
    }
    return r < 0 ? bind_failed(option, text, a, -r)
                 : set_owner(l, &owner, config);
}

static int
bind_and_listen(struct listener *l, const char *option, const char *text,
                const struct address *a, const struct config *config)
{
    int family = a->u.any.sa_family;
    int r;

    l->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0) {
        return bind_failed(option, text, a, errno);
    }
    set_options(l->fd, family);
    if (a->is_file) {
        r = bind_file(l, option, text, a, config);
    }
    else {
        r = bind(l->fd, &a->u.any, a->len) < 0
                ? bind_failed(option, text, a, errno)
                : 0;
    }
    if (r != 0) {
        return r;
    }
    r = listen(l->fd, config->backlog) < 0 ? -errno
        : l->path != NULL ? socket_file_check(l->path, &l->file)
                          : 0;
    return r < 0 ? bind_failed(option, text, a, -r) : 0;
}

/* The kernel knows which port it has chosen for 0, but not the path of a socket
 * file: bind() got another one. */
static void
name_bound(struct listener *l, const struct address *a)
{
    union sockaddr_any u = {.storage = {0}};
    socklen_t len = sizeof u;
    char text[ADDRESS_TEXT_SIZE];

    if (a->is_tcp && getsockname(l->fd, &u.any, &len) == 0) {
        address_format(&u, len, text);
    }
    else {
        address_format(&a->u, a->len, text);
    }
    (void)snprintf(l->name, sizeof l->name, "%s", text);
}

int
listener_bind(struct listener *l, const char *option, const char *text,
              const struct config *config, const struct acl *allow)
{
    struct address a;
    int r;

    memset(l, 0, sizeof *l);
    l->fd = -1;
    r = address_parse(option, text, &a);
    if (r != 0) {
        return r;
    }
    l->is_tcp = a.is_tcp;
    if (l->is_tcp && !address_is_loopback(&a) && acl_is_empty(allow)) {
        log_error("%s: %s can be reached from other machines and FastCGI has "
                  "no password; list those that may connect with "
                  "--allow=CIDR,... (or --allow=any)",
                  option, text);
        return EX_USAGE;
    }
    r = bind_and_listen(l, option, text, &a, config);
    if (r != 0) {
        listener_close(l, true);
        return r;
    }
    name_bound(l, &a);
    return 0;
}

int
listener_adopt(struct listener *l, int fd)
{
    union sockaddr_any a = {.storage = {0}};
    socklen_t len = sizeof a;
    char text[ADDRESS_TEXT_SIZE];

    memset(l, 0, sizeof *l);
    l->fd = -1;
    if (!fd_is_listening(fd) || getsockname(fd, &a.any, &len) < 0) {
        log_error("descriptor %d is not a listening socket: LISTEN_FDS or the "
                  "spawner must pass one (systemd: ListenStream=, Accept=no)",
                  fd);
        return EX_USAGE;
    }
    int high = fd_dup_high(fd);
    if (high < 0) {
        log_error("descriptor %d: %s", fd, strerror(-high));
        return EX_OSERR;
    }
    l->fd = high;
    l->is_tcp = a.any.sa_family != AF_UNIX;
    l->is_adopted = true;
    set_options(high, a.any.sa_family);
    address_format(&a, len, text);
    (void)snprintf(l->name, sizeof l->name, "%s (inherited)", text);
    /* Several processes may share it: another one may accept the connection
     * first, and a blocking accept() would then stop the thread. */
    int r = fd_set_nonblock(high);
    if (r < 0) {
        log_error("descriptor %d: %s", fd, strerror(-r));
        return EX_OSERR;
    }
    return 0;
}

int
listener_inherit(struct listener *l, int fd, const char *address,
                 const struct stat *file)
{
    int original = fd;
    int r = listener_adopt(l, fd);

    fd_close(&original);
    if (r != 0 || address == NULL) {
        return r;
    }
    l->is_adopted = false;
    (void)snprintf(l->name, sizeof l->name, "%s", address);
    if (strncmp(address, "unix:", 5) == 0) {
        address += 5;
    }
    /* The file may be another one by now: file tells. */
    if (address[0] == '/' && file->st_ino != 0) {
        l->path = strdup(address); /* NULL: the file stays at the end */
        l->file = *file;
    }
    return 0;
}

/* The path of a unix socket, or NULL where it has none. */
static const char *
path_of(int fd, union sockaddr_any *a)
{
    socklen_t len = sizeof *a;

    memset(a, 0, sizeof *a);
    return getsockname(fd, &a->any, &len) == 0 && a->any.sa_family == AF_UNIX &&
                   a->un.sun_path[0] == '/'
               ? a->un.sun_path
               : NULL;
}

int
listener_take_over(struct listener *l, int fd)
{
    union sockaddr_any a;
    struct stat file;
    const char *path = path_of(fd, &a);
    int r = listener_adopt(l, fd);

    if (r != 0) {
        return r;
    }
    l->is_adopted = false;
    if (path == NULL) {
        return 0;
    }
    (void)snprintf(l->name, sizeof l->name, "unix:%s", path);
    /* The inode cannot become another file's while the socket is open. */
    if (lstat(path, &file) == 0 && S_ISSOCK(file.st_mode)) {
        l->path = strdup(path); /* NULL: the file stays at the end */
        l->file = file;
    }
    return 0;
}

bool
listener_somebody_waits(const struct listener *l)
{
    struct pollfd p = {.fd = l->fd, .events = POLLIN};

    /* A socket that is shut is readable, too. */
    return !l->is_adopted && poll(&p, 1, 0) > 0 && (p.revents & POLLIN) != 0 &&
           (p.revents & POLLHUP) == 0;
}

void
listener_unlink(struct listener *l)
{
    int e = l->path == NULL ? 0 : socket_file_remove(l->path, &l->file);

    if (e < 0) {
        safe_path_log_left("the socket file", l->path, e,
                           socket_file_strerror(e));
    }
    free(l->path);
    l->path = NULL;
}

void
listener_close(struct listener *l, bool unlink_file)
{
    if (unlink_file) {
        listener_unlink(l);
    }
    free(l->path);
    l->path = NULL;
    fd_close(&l->fd);
}
