/*
 * socket_file.c - the file of a unix socket
 */
#include "net/socket_file.h"

#include "os/fd.h"
#include "os/safe_path.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PROC_PATH = 40 }; /* "/proc/self/fd/" and a number */

/* Opens the file with O_PATH, of any type. */
static int
open_entry(const struct safe_path *p)
{
    return safe_path_open(p, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
}

/* -- stale files ----------------------------------------------------------- */

static int
connect_to(const void *address, socklen_t len)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        return -errno;
    }
    int e = connect(fd, address, len) < 0 ? -errno : 0;
    fd_close(&fd);
    return e;
}

/* connect() follows links, but root must not where others may have made one. */
static int
probe(const struct safe_path *p, const struct sockaddr_un *address,
      socklen_t len)
{
    struct sockaddr_un entry = {.sun_family = AF_UNIX};
    CLEANUP(fd_close) int fd = -1;

    if (!p->is_exposed) {
        return connect_to(address, len);
    }
    fd = open_entry(p);
    if (fd < 0) {
        return fd;
    }
    (void)snprintf(entry.sun_path, sizeof entry.sun_path, "/proc/self/fd/%d",
                   fd);
    int e = connect_to(&entry, sizeof entry);
    return e == -ENOENT ? -ENOSYS : e; /* the file is open: /proc is missing */
}

/* Removes a socket file on which nobody listens. Any other file at that path is
 * an error. */
static int
remove_stale(const struct sockaddr_un *address, socklen_t len)
{
    CLEANUP(safe_path_close) struct safe_path p = {.folder_fd = -1};
    struct stat st;
    int e = safe_path_find(&p, address->sun_path, geteuid());

    if (e < 0) {
        return e;
    }
    if (p.is_linked) {
        return -EEXIST; /* bind() would not follow it */
    }
    if (fstatat(p.folder_fd, p.name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return -EEXIST;
    }
    e = probe(&p, address, len);
    if (e != -ECONNREFUSED) {
        return e == 0 || e == -EAGAIN ? -EADDRINUSE : e;
    }
    return unlinkat(p.folder_fd, p.name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* -- file system IDs ------------------------------------------------------- */

struct file_ids {
    uid_t uid;
    gid_t gid;
    int is_dumpable, death_signal; /* the kernel resets them with the IDs */
    struct __user_cap_header_struct version;
    struct __user_cap_data_struct rights[_LINUX_CAPABILITY_U32S_3];
};

static void
restore_ids(const struct file_ids *m)
{
    (void)setfsuid(geteuid());
    (void)setfsgid(getegid());
    (void)syscall(SYS_capset, &m->version, m->rights);
    if (m->is_dumpable == 1) {
        (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    }
    (void)prctl(PR_SET_PDEATHSIG, m->death_signal, 0, 0, 0);
}

/* With the IDs of the owner the file belongs to him from the start: no chown()
 * is needed, which could hit another file that he has put there. The
 * capabilities of root stay, since the directory may belong to a third user. On
 * failure nothing has changed. */
static int
set_ids(struct file_ids *m, const struct socket_owner *owner)
{
    *m = (struct file_ids){
        .uid = owner->uid == (uid_t)-1 ? geteuid() : owner->uid,
        .gid = owner->gid == (gid_t)-1 ? getegid() : owner->gid,
    };
    m->version.version = _LINUX_CAPABILITY_VERSION_3;
    m->is_dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    (void)prctl(PR_GET_PDEATHSIG, &m->death_signal, 0, 0, 0);
    if (syscall(SYS_capget, &m->version, m->rights) < 0) {
        return -errno;
    }
    (void)setfsgid(m->gid);
    (void)setfsuid(m->uid);
    /* Where this fails, the owner's own permissions must suffice. */
    (void)syscall(SYS_capset, &m->version, m->rights);
    /* Both return the old ID only, not whether they have worked. */
    if (setfsuid((uid_t)-1) != (int)m->uid ||
        setfsgid((gid_t)-1) != (int)m->gid) {
        restore_ids(m);
        return -EPERM;
    }
    return 0;
}

/* -- bind ------------------------------------------------------------------ */

/* bind() in an open directory: Linux has no bindat(). */
static int
bind_in_folder(int fd, const struct safe_path *p)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    CLEANUP(fd_close)
    int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (here < 0) {
        return -errno;
    }
    size_t n = strlen(p->name);
    if (n >= sizeof name.sun_path) {
        return -ENAMETOOLONG;
    }
    memcpy(name.sun_path, p->name, n + 1);
    if (fchdir(p->folder_fd) < 0) {
        return -errno;
    }
    const void *address = &name;
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
    int e = bind(fd, address, len) < 0 ? -errno : 0;
    return fchdir(here) < 0 ? -errno : e;
}

/* bind() does not follow a link at the end of the path; earlier links must be
 * root's. Binds to the whole path if possible, since ss(8) shows it. */
static int
bind_at(int fd, const struct safe_path *p, const struct sockaddr_un *un,
        socklen_t len, mode_t mode)
{
    const void *address = un;
    mode_t mask = umask(0777 & ~mode);
    int e = p->is_folder_exposed         ? bind_in_folder(fd, p)
            : bind(fd, address, len) < 0 ? -errno
                                         : 0;

    (void)umask(mask);
    return e;
}

static int
create(int fd, const struct safe_path *p, const struct sockaddr_un *address,
       socklen_t len, const struct socket_owner *owner, struct stat *ret)
{
    struct file_ids m;
    int e;

    if (p->is_exposed) {
        e = set_ids(&m, owner);
        if (e == 0) {
            e = bind_at(fd, p, address, len, owner->mode);
            restore_ids(&m);
        }
    }
    else {
        e = bind_at(fd, p, address, len, owner->mode);
    }
    if (e < 0) {
        return e;
    }
    if (fstatat(p->folder_fd, p->name, ret, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno == ENOENT ? -ESTALE : -errno;
    }
    return S_ISSOCK(ret->st_mode) && (!p->is_exposed || ret->st_uid == m.uid)
               ? 0
               : -ESTALE;
}

int
socket_file_bind(int fd, const struct sockaddr_un *address, socklen_t len,
                 const struct socket_owner *owner, struct stat *ret_file)
{
    CLEANUP(safe_path_close) struct safe_path p = {.folder_fd = -1};
    int e = remove_stale(address, len);

    assert(address->sun_path[0] == '/');
    if (e == 0) {
        e = safe_path_find(&p, address->sun_path, geteuid());
    }
    return e < 0 ? e : create(fd, &p, address, len, owner, ret_file);
}

/* -- chown, check, remove -------------------------------------------------- */

static bool
is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

static int
change(int fd, const struct stat *st, const struct socket_owner *owner)
{
    char entry[PROC_PATH];

    if (fchownat(fd, "", owner->uid, owner->gid, AT_EMPTY_PATH) < 0) {
        return -errno;
    }
    if ((st->st_mode & 07777) == owner->mode) {
        return 0;
    }
    /* fchmod() takes no O_PATH. */
    (void)snprintf(entry, sizeof entry, "/proc/self/fd/%d", fd);
    return chmod(entry, owner->mode) < 0 ? -errno : 0;
}

/* This is needed where only root can replace the file, where we are not root,
 * and where the directory has set-group-ID or a default ACL. */
int
socket_file_chown(const char *path, const struct stat *file,
                  const struct socket_owner *owner)
{
    CLEANUP(safe_path_close) struct safe_path p = {.folder_fd = -1};
    CLEANUP(fd_close) int fd = -1;
    struct stat st;

    if ((owner->uid == (uid_t)-1 || owner->uid == file->st_uid) &&
        (owner->gid == (gid_t)-1 || owner->gid == file->st_gid) &&
        (file->st_mode & 07777) == owner->mode) {
        return 0;
    }
    int e = safe_path_find(&p, path, geteuid());
    if (e < 0) {
        return e;
    }
    fd = open_entry(&p);
    if (fd < 0 || fstat(fd, &st) < 0) {
        return fd < 0 ? fd : -errno;
    }
    return S_ISSOCK(st.st_mode) && is_same(&st, file) &&
                   st.st_uid == file->st_uid
               ? change(fd, &st, owner)
               : -ESTALE;
}

static int
look(struct safe_path *p, const char *path, const struct stat *file)
{
    struct stat st;
    int e = safe_path_find(p, path, geteuid());

    if (e == 0 &&
        fstatat(p->folder_fd, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        e = -errno;
    }
    return e == -ENOENT || (e == 0 && !is_same(&st, file)) ? -ESTALE : e;
}

int
socket_file_check(const char *path, const struct stat *file)
{
    CLEANUP(safe_path_close) struct safe_path p = {.folder_fd = -1};

    return look(&p, path, file);
}

int
socket_file_remove(const char *path, const struct stat *file)
{
    CLEANUP(safe_path_close) struct safe_path p = {.folder_fd = -1};
    int e = look(&p, path, file);

    if (e < 0) {
        return e == -ESTALE ? 0 : e;
    }
    return unlinkat(p.folder_fd, p.name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

const char *
socket_file_strerror(int err)
{
    switch (err) {
    case -ESTALE:
        return "another process has replaced the file just after it was "
               "created";
    case -ENOSYS:
        return "there is no /proc to find out whether a process listens on "
               "the existing socket file; remove the file";
    default:
        return safe_path_strerror(err);
    }
}
