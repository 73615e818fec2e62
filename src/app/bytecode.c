/*
 * bytecode.c - the code object of a script, compiled or from the cache
 *
 * The program executes what the cache holds. So it trusts a cache file only if
 * no other user could have written it, and only for exactly this script, whose
 * key the file contains. All names are opened relative to a folder whose owner
 * and mode have been checked through its descriptor.
 */
#include "app/bytecode.h"

#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <marshal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    SOURCE_SIZE_MAX = 64 << 20,
    CACHE_FILE_MAX = 128 << 20,
    /* A shorter script is compiled as fast as its cache file is read. */
    CACHE_SOURCE_MIN = 1024,
    /* A second change within one tick of the clock would not show in mtime: a
     * script that was modified this recently is not cached. */
    SETTLED_S = 2,
    NAME_SIZE = NAME_MAX + 1,
};

#define MAGIC "wsgi-cgi bytecode 1\n"

/* The head of a cache file; the path and the marshalled code follow. It has no
 * padding. */
struct cache_key {
    char magic[24];
    int64_t python_magic;
    int64_t optimize;
    int64_t mtime_ns;
    /* An unpacked archive may give each version the same mtime, and two
     * versions may have the same size; but nobody can set ctime. */
    int64_t ctime_ns;
    int64_t size;
    uint64_t inode;
    uint64_t device;
    uint64_t path_len;
    uint64_t code_len;
    uint64_t code_hash;
};

/* A private folder, and the name of the cache file in it. */
struct cache_file {
    int dir_fd;
    char name[NAME_SIZE];
};

/* -- files ----------------------------------------------------------------- */

/* Reads size bytes, or fewer if the file ends before. New reference, or NULL
 * with an exception. */
static PyObject *
read_all(int fd, size_t size, PyObject *name)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    size_t len = 0;
    while (bytes != NULL && len < size) {
        ssize_t n = read(fd, PyBytes_AS_STRING(bytes) + len, size - len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, name);
            Py_DECREF(bytes);
            return NULL;
        }
        if (n == 0) {
            break;
        }
        len += (size_t)n;
    }
    if (bytes != NULL && len < size) {
        (void)_PyBytes_Resize(&bytes, (Py_ssize_t)len);
    }
    return bytes;
}

static bool
write_all(int fd, const void *bytes, size_t n)
{
    const char *from = bytes;
    while (n > 0) {
        ssize_t written = write(fd, from, n);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return false;
        }
        from += written;
        n -= (size_t)written;
    }
    return true;
}

/* Detects damage, not forgery: no other user can write there. */
static uint64_t
hash_of(const char *data, size_t n)
{
    uint64_t h = 0x9e3779b97f4a7c15u ^ n;
    while (n > 0) {
        uint64_t word = 0;
        size_t step = n < sizeof(word) ? n : sizeof(word);
        memcpy(&word, data, step);
        h = (h ^ word) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
        data += step;
        n -= step;
    }
    return h;
}

static bool
is_private(const struct stat *st)
{
    return st->st_uid == geteuid() && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* -- the key --------------------------------------------------------------- */

/* sys.flags.optimize: code compiled with -O has no asserts or docstrings. */
static int64_t
optimize_level(void)
{
    CLEANUP(py_clear) PyObject *flags = py_sys_attr("flags");
    CLEANUP(py_clear)
    PyObject *level =
        flags == NULL ? NULL : PyObject_GetAttrString(flags, "optimize");
    long value = level == NULL ? -1 : PyLong_AsLong(level);
    PyErr_Clear();
    return value;
}

static int64_t
nanoseconds(const struct timespec *t)
{
    return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static struct cache_key
key_of(const char *path, const struct stat *st)
{
    struct cache_key k = {
        .magic = MAGIC,
        .python_magic = PyImport_GetMagicNumber(),
        .optimize = optimize_level(),
        .mtime_ns = nanoseconds(&st->st_mtim),
        .ctime_ns = nanoseconds(&st->st_ctim),
        .size = st->st_size,
        .inode = st->st_ino,
        .device = st->st_dev,
        .path_len = strlen(path),
    };
    return k;
}

/* -- the folder ------------------------------------------------------------ */

/* Opens a folder that only this user can write to. -1 for any other. */
static int
open_private_dir(int at_fd, const char *name, mode_t forbidden)
{
    struct stat st;
    int fd =
        openat(at_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &st) < 0 || !is_private(&st) ||
                    (st.st_mode & forbidden) != 0)) {
        fd_close(&fd);
    }
    return fd;
}

/* __pycache__ beside the script. create: make it if the script's folder is
 * private. */
static bool
cache_in_pycache(const char *path, bool create, struct cache_file *ret)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return false;
    }
    int n = snprintf(ret->name, sizeof(ret->name), "%s.%d%d.wsgic", slash + 1,
                     PY_MAJOR_VERSION, PY_MINOR_VERSION);
    char dir[PATH_MAX];
    int len = snprintf(dir, sizeof(dir), "%.*s/", (int)(slash - path), path);
    if (n < 0 || (size_t)n >= sizeof(ret->name) || len < 0 ||
        (size_t)len >= sizeof(dir)) {
        return false;
    }
    /* Symbolic links up to the script's folder are the administrator's; the
     * last two names must not be links. */
    CLEANUP(fd_close)
    int script_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    if (script_fd < 0 || fstat(script_fd, &st) < 0) {
        return false;
    }
    if (create && is_private(&st)) {
        (void)mkdirat(script_fd, "__pycache__", 0755);
    }
    ret->dir_fd = open_private_dir(script_fd, "__pycache__", 0);
    if (ret->dir_fd >= 0 && faccessat(ret->dir_fd, ".", W_OK, AT_EACCESS) < 0) {
        fd_close(&ret->dir_fd); /* such as on a read-only file system */
    }
    return ret->dir_fd >= 0;
}

/* $TMPDIR/wsgi-cgi-UID, which only this user can read. */
static bool
cache_in_tmp(const char *path, bool create, struct cache_file *ret)
{
    const char *tmp = getenv("TMPDIR");
    char dir[PATH_MAX];
    if (tmp == NULL || tmp[0] != '/') {
        tmp = "/tmp";
    }
    int n =
        snprintf(dir, sizeof(dir), "%s/wsgi-cgi-%u", tmp, (unsigned)geteuid());
    if (n < 0 || (size_t)n >= sizeof(dir)) {
        return false;
    }
    if (create) {
        (void)mkdir(dir, 0700);
    }
    /* Two scripts with the same hash replace each other's file: the key has the
     * whole path. */
    (void)snprintf(ret->name, sizeof(ret->name), "%016llx.%d%d.wsgic",
                   (unsigned long long)hash_of(path, strlen(path)),
                   PY_MAJOR_VERSION, PY_MINOR_VERSION);
    ret->dir_fd = open_private_dir(AT_FDCWD, dir, S_IRWXG | S_IRWXO);
    return ret->dir_fd >= 0;
}

static bool
find_cache_file(const char *path, bool create, struct cache_file *ret)
{
    return cache_in_pycache(path, create, ret) ||
           cache_in_tmp(path, create, ret);
}

/* -- reading the cache ----------------------------------------------------- */

enum cache_state { CACHE_GOOD, CACHE_STALE, CACHE_DAMAGED };

/* CACHE_STALE: of an earlier state of the script, or of another script. */
static enum cache_state
compare(const char *file, size_t len, const struct cache_key *want,
        const char *path)
{
    struct cache_key have;
    if (len < sizeof(have)) {
        return CACHE_DAMAGED;
    }
    memcpy(&have, file, sizeof(have));
    if (memcmp(have.magic, want->magic, sizeof(have.magic)) != 0 ||
        have.path_len > len - sizeof(have) ||
        have.code_len != len - sizeof(have) - have.path_len) {
        return CACHE_DAMAGED;
    }
    const char *code = file + sizeof(have) + have.path_len;
    if (hash_of(code, have.code_len) != have.code_hash) {
        return CACHE_DAMAGED;
    }
    struct cache_key same = *want;
    same.code_len = have.code_len;
    same.code_hash = have.code_hash;
    if (memcmp(&have, &same, sizeof(have)) != 0 ||
        memcmp(file + sizeof(have), path, have.path_len) != 0) {
        return CACHE_STALE;
    }
    return CACHE_GOOD;
}

static PyObject *
unmarshal(const char *file, size_t len, const struct cache_key *want)
{
    size_t at = sizeof(*want) + want->path_len;

    assert(at <= len);
    PyObject *code =
        PyMarshal_ReadObjectFromString(file + at, (Py_ssize_t)(len - at));
    if (code != NULL && !PyCode_Check(code)) {
        Py_CLEAR(code);
    }
    return code;
}

/* New reference. NULL, perhaps with an exception: compile the script. */
static PyObject *
cache_read(const char *path, const struct cache_key *want)
{
    struct cache_file p;
    if (!find_cache_file(path, false, &p)) {
        return NULL;
    }
    CLEANUP(fd_close) int dir_fd = p.dir_fd;
    CLEANUP(fd_close)
    int fd =
        openat(dir_fd, p.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        !is_private(&st) || st.st_size > CACHE_FILE_MAX) {
        return NULL;
    }
    CLEANUP(py_clear)
    PyObject *bytes = read_all(fd, (size_t)st.st_size, Py_None);
    if (bytes == NULL) {
        return NULL;
    }
    const char *file = PyBytes_AS_STRING(bytes);
    size_t len = (size_t)PyBytes_GET_SIZE(bytes);
    enum cache_state v = compare(file, len, want, path);
    PyObject *code = v == CACHE_GOOD ? unmarshal(file, len, want) : NULL;
    if (v == CACHE_DAMAGED || (v == CACHE_GOOD && code == NULL)) {
        (void)unlinkat(dir_fd, p.name, 0);
    }
    return code;
}

/* -- writing the cache ----------------------------------------------------- */

static bool
may_write(const struct stat *st)
{
    CLEANUP(py_clear) PyObject *no = py_sys_attr("dont_write_bytecode");
    struct timespec now;
    if (no == NULL || PyObject_IsTrue(no) != 0 ||
        st->st_size < CACHE_SOURCE_MIN ||
        clock_gettime(CLOCK_REALTIME, &now) < 0) {
        return false;
    }
    return st->st_mtim.tv_sec + SETTLED_S < now.tv_sec;
}

/* Writes the cache file. A reader sees the old file or the complete new one. */
static void
write_file(const struct cache_file *p, const struct cache_key *key,
           const char *path, const char *code)
{
    char temp[64];
    (void)snprintf(temp, sizeof(temp), ".%ld-%llx.tmp", (long)getpid(),
                   (unsigned long long)(uintptr_t)code);
    CLEANUP(fd_close)
    int fd = openat(p->dir_fd, temp,
                    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return;
    }
    bool ok = write_all(fd, key, sizeof(*key)) &&
              write_all(fd, path, key->path_len) &&
              write_all(fd, code, key->code_len);
    if (!ok || renameat(p->dir_fd, temp, p->dir_fd, p->name) < 0) {
        (void)unlinkat(p->dir_fd, temp, 0);
    }
}

static void
cache_write(const char *path, struct cache_key *key, PyObject *code)
{
    struct cache_file p;
    if (!find_cache_file(path, true, &p)) {
        return;
    }
    CLEANUP(fd_close) int dir_fd = p.dir_fd;
    CLEANUP(py_clear)
    PyObject *bytes = PyMarshal_WriteObjectToString(code, Py_MARSHAL_VERSION);
    if (bytes == NULL) {
        PyErr_Clear();
        return;
    }
    assert(key->path_len == strlen(path));
    key->code_len = (uint64_t)PyBytes_GET_SIZE(bytes);
    key->code_hash = hash_of(PyBytes_AS_STRING(bytes), key->code_len);
    p.dir_fd = dir_fd;
    write_file(&p, key, path, PyBytes_AS_STRING(bytes));
}

/* -- the source ------------------------------------------------------------ */

static void
raise_os(int err, PyObject *name)
{
    errno = -err;
    PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, name);
}

/* Python reads source as a C string and would silently stop at a null byte. */
static PyObject *
raise_null_byte(const char *source, PyObject *name)
{
    long line = 1;
    for (const char *s = source; *s != '\0'; s++) {
        line += *s == '\n';
    }
    CLEANUP(py_clear)
    PyObject *args =
        Py_BuildValue("s(OliO)", "source code cannot contain null bytes", name,
                      line, 1, Py_None);
    if (args != NULL) {
        PyErr_SetObject(PyExc_SyntaxError, args);
    }
    return NULL;
}

static PyObject *
compile_source(PyObject *source, PyObject *name)
{
    const char *text = PyBytes_AS_STRING(source);
    if (strlen(text) < (size_t)PyBytes_GET_SIZE(source)) {
        return raise_null_byte(text, name);
    }
    /* With flags Python honours a coding cookie and a byte order mark also
     * before 3.11. -1: optimise as this interpreter does. */
    PyCompilerFlags flags = {.cf_feature_version = PY_MINOR_VERSION};
    return Py_CompileStringObject(text, name, Py_file_input, &flags, -1);
}

static bool
is_same(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size &&
           nanoseconds(&a->st_mtim) == nanoseconds(&b->st_mtim) &&
           nanoseconds(&a->st_ctim) == nanoseconds(&b->st_ctim);
}

/* Opens the script, which must be a regular file. -1 with an exception. */
static int
open_script(const char *path, PyObject *name, struct stat *ret_st)
{
    /* O_NONBLOCK: opening a named pipe must not block. */
    CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0 || fstat(fd, ret_st) < 0) {
        raise_os(-errno, name);
        return -1;
    }
    if (!S_ISREG(ret_st->st_mode)) {
        raise_os(S_ISDIR(ret_st->st_mode) ? -EISDIR : -EINVAL, name);
        return -1;
    }
    int opened = fd;
    fd = -1;
    return opened;
}

/* Compiles the script that fd reads, and caches the result. */
static PyObject *
compile_script(int fd, const struct stat *st, const char *path, PyObject *name,
               struct cache_key *key)
{
    struct stat after;

    if (st->st_size > SOURCE_SIZE_MAX) {
        raise_os(-EFBIG, name);
        return NULL;
    }
    CLEANUP(py_clear)
    PyObject *source = read_all(fd, (size_t)st->st_size, name);
    PyObject *code = source == NULL ? NULL : compile_source(source, name);
    if (code != NULL && may_write(st) && fstat(fd, &after) == 0 &&
        is_same(st, &after)) {
        cache_write(path, key, code);
    }
    return code;
}

PyObject *
bytecode_load(const char *path)
{
    struct stat st;

    ASSERT_ATTACHED();
    assert(path[0] == '/');
    CLEANUP(py_clear) PyObject *name = PyUnicode_DecodeFSDefault(path);
    CLEANUP(fd_close)
    int fd = name == NULL ? -1 : open_script(path, name, &st);
    if (fd < 0) {
        return NULL;
    }
    struct cache_key key = key_of(path, &st);
    PyObject *code =
        st.st_size < CACHE_SOURCE_MIN ? NULL : cache_read(path, &key);
    PyErr_Clear();
    return code != NULL ? code : compile_script(fd, &st, path, name, &key);
}
