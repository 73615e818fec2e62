/*
 * instance_find.c - the warm instances of this user
 */
#include "instances/instance_find.h"

#include "base/buf.h"
#include "os/fd.h"
#include "os/log.h"
#include "os/memory.h"
#include "text/num.h"
#include "warm/warm_connect.h"
#include "warm/warm_status.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

/* -- the folders ----------------------------------------------------------- */

/* TMPDIR may be /tmp. */
static bool
is_known(const struct instance_list *l, const struct warm_folder *f)
{
    struct stat new, old;

    if (fstat(f->fd, &new) < 0) {
        return true;
    }
    for (size_t i = 0; i < l->nfolders; i++) {
        if (fstat(l->folders[i].fd, &old) == 0 && old.st_dev == new.st_dev &&
            old.st_ino == new.st_ino) {
            return true;
        }
    }
    return false;
}

static void
open_folders(struct instance_list *l, const char *option)
{
    char why[WARM_WHY_SIZE];
    struct warm_folder f;
    int e = 0;

    for (unsigned i = 0; e != -ERANGE; i++) {
        e = warm_folder_open_nth(&f, i, why);
        if (e == -EPERM) {
            /* Another user may have put it there. */
            log_warning("%s: %s", option, why);
        }
        else if (e == 0 && !is_known(l, &f) &&
                 l->nfolders < ARRAY_SIZE(l->folders)) {
            l->folders[l->nfolders++] = f;
        }
        else {
            warm_folder_close(&f);
        }
    }
}

/* -- one instance ---------------------------------------------------------- */

static void
instance_fini(struct instance *i)
{
    free(i->script);
    fd_close(&i->process);
}

static uint64_t
memory_of_workers(const char *page)
{
    uint64_t bytes, kib = 0;
    size_t n;

    for (const char *at = page;
         (at = warm_status_text(at, "memory", &n)) != NULL; at += n) {
        kib += num_parse(at, n, UINT64_MAX, &bytes) == 0 ? bytes / 1024 : 0;
    }
    return kib;
}

static void
set_script(struct instance *i, const char *text, size_t n)
{
    free(i->script);
    i->script = strndup(text, n);
}

static void
read_page(struct instance *i, const char *page)
{
    size_t n;
    const char *pool = warm_status_text(page, "pool", &n);

    i->answers = warm_status_number(page, "start since", &i->age_s) &&
                 warm_status_number(page, "total processes", &i->workers) &&
                 warm_status_number(page, "requests", &i->requests);
    i->memory_kib = memory_kib_of(i->pid) + memory_of_workers(page);
    if (pool != NULL) {
        set_script(i, pool, n);
    }
}

/* Where the page does not come: what ps(1) shows. It is the title of the master,
 * or the words that it was started with, of which APP is the last. */
static void
read_title(struct instance *i)
{
    static const char title[] = "wsgi-cgi: master ";
    char path[64], text[PATH_MAX + 4096];

    (void)snprintf(path, sizeof path, "/proc/%d/cmdline", (int)i->pid);
    CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    size_t n = got > 0 ? (size_t)got : 0, from;
    while (n > 0 && text[n - 1] == '\0') {
        n--;
    }
    text[n] = '\0';
    if (strncmp(text, title, sizeof title - 1) == 0) {
        from = sizeof title - 1;
    }
    else {
        for (from = n; from > 0 && text[from - 1] != '\0'; from--) {
        }
    }
    set_script(i, text + from, n - from);
}

static void
ask(struct instance *i, int fd, const char *option, int64_t timeout_ms)
{
    struct buf page;

    buf_init(&page, WARM_STATUS_MAX);
    int e = warm_status_get(fd, "text&full", timeout_ms, &page);
    if (e == 0) {
        read_page(i, page.data);
    }
    else {
        log_warning("%s: the instance with pid %d does not answer: %s", option,
                    (int)i->pid, strerror(-e));
    }
    buf_fini(&page);
}

static int
add(struct instance_list *l, const struct instance *i)
{
    if (l->n == l->room) {
        size_t room = l->room == 0 ? 16 : 2 * l->room;
        void *v = reallocarray(l->v, room, sizeof *l->v);
        if (v == NULL) {
            return -ENOMEM;
        }
        l->v = v;
        l->room = room;
    }
    l->v[l->n++] = *i;
    return 0;
}

/* 0, also where it has ended; or -errno. */
static int
look(struct instance_list *l, const struct warm_folder *f,
     const struct warm_name *n, const char *option, int64_t timeout_ms)
{
    CLEANUP(fd_close) int control = warm_connect(f, n, WARM_CONTROL);
    CLEANUP(fd_close) int other = control < 0 ? warm_connect_any(f, n) : -1;
    int fd = control >= 0 ? control : other;
    struct instance i = {.folder = f, .name = *n};

    if (fd < 0 && !warm_connect_is_nobody(fd)) {
        log_warning("%s: %s/%s-%s: %s", option, f->path, n->script, n->version,
                    strerror(-fd));
    }
    i.pid = fd < 0 ? -1 : warm_connect_pid(fd);
    i.process = i.pid <= 0 ? -ESRCH : warm_connect_process(fd, i.pid);
    if (i.process < 0 && i.process != -ENOSYS) {
        return 0;
    }
    read_title(&i);
    if (control >= 0) {
        ask(&i, control, option, timeout_ms);
    }
    int e = i.script == NULL ? -ENOMEM : add(l, &i);
    if (e < 0) {
        instance_fini(&i);
    }
    return e;
}

/* -- all of them ----------------------------------------------------------- */

static bool
is_found(const struct instance_list *l, const struct warm_folder *f,
         const struct warm_name *n)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct instance *have = &l->v[i];
        if (have->folder == f && strcmp(have->name.script, n->script) == 0 &&
            strcmp(have->name.version, n->version) == 0) {
            return true;
        }
    }
    return false;
}

static int
look_into(struct instance_list *l, const struct warm_folder *f,
          const char *option, int64_t timeout_ms)
{
    int fd = openat(f->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), e = 0;
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    struct warm_name name;

    if (folder == NULL) {
        e = -errno;
        fd_close(&fd);
        return e;
    }
    for (struct dirent *d; e == 0 && (d = readdir(folder)) != NULL;) {
        if ((warm_name_parse(&name, d->d_name, WARM_SOCKET) ||
             warm_name_parse(&name, d->d_name, WARM_CONTROL)) &&
            !is_found(l, f, &name)) {
            e = look(l, f, &name, option, timeout_ms);
        }
    }
    (void)closedir(folder);
    return e;
}

int
instance_find(struct instance_list *ret, const char *option, int64_t timeout_ms)
{
    *ret = (struct instance_list){.n = 0};
    open_folders(ret, option);
    for (size_t i = 0; i < ret->nfolders; i++) {
        int e = look_into(ret, &ret->folders[i], option, timeout_ms);
        if (e < 0) {
            log_error("%s: %s: %s", option, ret->folders[i].path, strerror(-e));
            return EX_OSERR;
        }
    }
    return 0;
}

void
instance_list_keep(struct instance_list *l,
                   bool (*keep)(const struct instance *i, void *arg), void *arg)
{
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++) {
        if (keep(&l->v[i], arg)) {
            l->v[n++] = l->v[i];
        }
        else {
            instance_fini(&l->v[i]);
        }
    }
    l->n = n;
}

void
instance_list_fini(struct instance_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        instance_fini(&l->v[i]);
    }
    for (size_t i = 0; i < l->nfolders; i++) {
        warm_folder_close(&l->folders[i]);
    }
    free(l->v);
}
