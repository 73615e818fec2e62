/*
 * venv.c - checks that our Python can use a virtual environment
 */
#include "python/venv.h"

#include "os/fd.h"
#include "os/log.h"
#include "os/path_access.h"
#include "python/python.h"
#include "text/num.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>
#include <unistd.h>

#define PYTHON_DIR "python" PYTHON_X_Y
#define PYTHON_ZIP "python" PYTHON_MAJOR PYTHON_MINOR PYTHON_ABI_THREAD ".zip"

/* The ends of messages; the folder follows. */
#define CREATE_IT ": create it with " PYTHON_DIR " -m venv "
#define CREATE_AGAIN ": create it again with " PYTHON_DIR " -m venv --clear "

enum { WHY_MAX = 2 * PATH_MAX + 256, CFG_MAX = 16 * 1024 };

/* What pyvenv.cfg says. */
struct cfg {
    char home[PATH_MAX]; /* "" if there is no such line */
    uint64_t major, minor;
    bool has_version;
    bool is_closed; /* packages from outside are not visible */
};

CHECK_RESULT static int join(char *to, size_t size, const char *dir,
                             const char *name);

static int
join(char *to, size_t size, const char *dir, const char *name)
{
    int n = snprintf(to, size, "%s/%s", dir, name);
    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* -- the standard library -------------------------------------------------- */

/* Where `encodings` may be, which Python imports first. lib64 is Fedora's. */
static const char *const encodings_at[] = {
    "lib/" PYTHON_DIR "/encodings/__init__.py",
    "lib64/" PYTHON_DIR "/encodings/__init__.py",
    "lib/" PYTHON_DIR "/encodings/__init__.pyc",
    "lib/" PYTHON_ZIP,
};

/* False if there is none; why then describes the usual place. */
static bool
has_encodings(const char *prefix, char *why, size_t size)
{
    char path[PATH_MAX];
    char ignored[WHY_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(encodings_at); i++) {
        if (join(path, sizeof(path), prefix, encodings_at[i]) == 0 &&
            path_access(path, R_OK, NULL, i == 0 ? why : ignored,
                        i == 0 ? size : sizeof(ignored)) == 0) {
            return true;
        }
    }
    return false;
}

/* Searches upwards from the interpreter's folder, as Python does. why describes
 * the folder above bin/. */
static bool
has_encodings_above(const char *bin, char *why, size_t size)
{
    char dir[PATH_MAX];
    char ignored[WHY_MAX];
    bool is_first = true;

    if (path_access(bin, X_OK, NULL, why, size) < 0 ||
        realpath(bin, dir) == NULL) {
        return false;
    }
    assert(dir[0] == '/');
    for (char *slash; (slash = strrchr(dir, '/')) != NULL; is_first = false) {
        *slash = '\0';
        if (has_encodings(dir, is_first ? why : ignored,
                          is_first ? size : sizeof(ignored))) {
            return true;
        }
    }
    return false;
}

/* The folder of exe, with links followed if it exists. */
static void
folder_of(const char *exe, char *to, size_t size)
{
    char real[PATH_MAX];
    const char *from = realpath(exe, real) != NULL ? real : exe;
    const char *slash = strrchr(from, '/');
    int n = slash == NULL ? 0 : (int)(slash - from);
    (void)snprintf(to, size, "%.*s", n, from);
}

int
venv_check_base(const char *exe)
{
    char why[WHY_MAX];
    char bin[PATH_MAX];
    const char *home = getenv("PYTHONHOME");

    if (home != NULL && *home != '\0') {
        char prefix[PATH_MAX];
        (void)snprintf(prefix, sizeof(prefix), "%.*s", (int)strcspn(home, ":"),
                       home);
        if (!has_encodings(prefix, why, sizeof(why))) {
            log_error("PYTHONHOME=%s is not a home of Python " PYTHON_X_Y
                      ": %s; unset it (for a virtual environment use --venv)",
                      home, why);
            return EX_CONFIG;
        }
        log_warning("PYTHONHOME=%s is set: Python takes its standard library "
                    "from there",
                    home);
        return 0;
    }
    folder_of(exe, bin, sizeof(bin));
    if (!has_encodings_above(bin, why, sizeof(why))) {
        log_error("the standard library of Python " PYTHON_X_Y
                  " cannot be used: %s; is Python " PYTHON_X_Y " installed?",
                  why);
        return EX_CONFIG;
    }
    return 0;
}

/* -- pyvenv.cfg ------------------------------------------------------------ */

static char *
trim(char *s)
{
    s += strspn(s, " \t\r");
    size_t n = strlen(s);
    while (n > 0 && strchr(" \t\r", s[n - 1]) != NULL) {
        s[--n] = '\0';
    }
    return s;
}

/* "3.11.2", "3.11.2.final.0" (virtualenv), "3.11" (uv). */
static bool
parse_version(const char *s, struct cfg *cfg)
{
    size_t major = strcspn(s, ".");
    if (s[major] != '.') {
        return false;
    }
    const char *second = s + major + 1;
    return num_parse(s, major, 99, &cfg->major) == 0 &&
           num_parse(second, strcspn(second, "."), 999, &cfg->minor) == 0;
}

static void
parse_line(char *line, struct cfg *cfg)
{
    char *equals = strchr(line, '=');
    if (equals == NULL) {
        return;
    }
    *equals = '\0';
    const char *key = trim(line);
    const char *value = trim(equals + 1);
    if (strcasecmp(key, "home") == 0) {
        (void)snprintf(cfg->home, sizeof(cfg->home), "%s", value);
    }
    else if (strcasecmp(key, "version") == 0 ||
             strcasecmp(key, "version_info") == 0) {
        cfg->has_version = parse_version(value, cfg) || cfg->has_version;
    }
    else if (strcasecmp(key, "include-system-site-packages") == 0) {
        cfg->is_closed = strcasecmp(value, "true") != 0;
    }
}

static int
read_cfg(const char *path, struct cfg *cfg)
{
    char text[CFG_MAX];
    CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    ssize_t n;
    do {
        n = read(fd, text, sizeof(text) - 1);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return -errno;
    }
    text[n] = '\0';
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        parse_line(line, cfg);
    }
    return 0;
}

/* -- the virtual environment ----------------------------------------------- */

CHECK_RESULT static int check_folder(const char *dir);
CHECK_RESULT static int check_cfg(const char *dir, struct cfg *cfg);
CHECK_RESULT static int check_version(const char *dir, const struct cfg *cfg);
CHECK_RESULT static int check_packages(const char *dir);
CHECK_RESULT static int check_python(const char *dir);

static int
check_folder(const char *dir)
{
    char why[WHY_MAX];
    struct stat st;

    int r = path_access(dir, F_OK, &st, why, sizeof(why));
    if (r == 0 && !S_ISDIR(st.st_mode)) {
        log_error("--venv: %s: this is not a directory: name the folder of the "
                  "virtual environment",
                  dir);
        return EX_CONFIG;
    }
    if (r == 0) {
        r = path_access(dir, X_OK, NULL, why, sizeof(why));
    }
    if (r < 0) {
        log_error("--venv: %s: %s%s%s", dir, why, r == -ENOENT ? CREATE_IT : "",
                  r == -ENOENT ? dir : "");
        return EX_CONFIG;
    }
    return 0;
}

static int
check_cfg(const char *dir, struct cfg *cfg)
{
    char path[PATH_MAX];
    char why[WHY_MAX];

    if (join(path, sizeof(path), dir, "pyvenv.cfg") < 0) {
        log_error("--venv: %s: this path is too long", dir);
        return EX_CONFIG;
    }
    int r = path_access(path, R_OK, NULL, why, sizeof(why));
    if (r == -ENOENT) {
        char above[PATH_MAX];
        bool is_bin = join(above, sizeof(above), dir, "../pyvenv.cfg") == 0 &&
                      access(above, F_OK) == 0;
        log_error("--venv: %s: not a virtual environment: it has no "
                  "pyvenv.cfg%s",
                  dir,
                  is_bin ? ": name the folder above it"
                         : ": name the folder that " PYTHON_DIR
                           " -m venv made");
        return EX_CONFIG;
    }
    if (r == 0) {
        r = read_cfg(path, cfg);
        (void)snprintf(why, sizeof(why), "%s: %s", path, strerror(-r));
    }
    if (r < 0) {
        log_error("--venv: %s: %s", dir, why);
        return EX_CONFIG;
    }
    return 0;
}

static int
check_version(const char *dir, const struct cfg *cfg)
{
    if (cfg->has_version &&
        (cfg->major != PY_MAJOR_VERSION || cfg->minor != PY_MINOR_VERSION)) {
        log_error("--venv: %s: it is for Python %u.%u, this wsgi-cgi has "
                  "Python " PYTHON_X_Y CREATE_AGAIN "%s",
                  dir, (unsigned)cfg->major, (unsigned)cfg->minor, dir);
        return EX_CONFIG;
    }
    return 0;
}

static int
check_packages(const char *dir)
{
    char path[PATH_MAX];
    char pattern[PATH_MAX];
    char why[WHY_MAX];

    if (join(path, sizeof(path), dir, "lib/" PYTHON_DIR "/site-packages") < 0 ||
        join(pattern, sizeof(pattern), dir, "lib/python*/site-packages") < 0) {
        log_error("--venv: %s: this path is too long", dir);
        return EX_CONFIG;
    }
    int r = path_access(path, R_OK | X_OK, NULL, why, sizeof(why));
    if (r == 0) {
        return 0;
    }
    /* Name the version, which pyvenv.cfg may not do. */
    glob_t found;
    if (r == -ENOENT && glob(pattern, 0, NULL, &found) == 0) {
        log_error(
            "--venv: %s: it has no lib/" PYTHON_DIR
            "/site-packages, only %s: this wsgi-cgi has Python " PYTHON_X_Y
                CREATE_AGAIN "%s",
            dir, found.gl_pathv[0] + strlen(dir) + 1, dir);
        globfree(&found);
        return EX_CONFIG;
    }
    log_error("--venv: %s: %s%s%s", dir, why, r == -ENOENT ? CREATE_AGAIN : "",
              r == -ENOENT ? dir : "");
    return EX_CONFIG;
}

static int
check_python(const char *dir)
{
    char path[PATH_MAX];
    char why[WHY_MAX];

    if (join(path, sizeof(path), dir, "bin/python") < 0) {
        return 0;
    }
    int r = path_access(path, X_OK, NULL, why, sizeof(why));
    if (r < 0) {
        log_error("--venv: %s: %s%s%s", dir, why,
                  r == -ENOENT ? CREATE_AGAIN : "", r == -ENOENT ? dir : "");
        return EX_CONFIG;
    }
    return 0;
}

/* True if exe is one of the usual names of an interpreter in bin.
 * /usr/local/bin/python3, by which the environment was created, may be a link
 * into /usr/bin. */
static bool
is_same_build(const char *bin, const char *exe)
{
    static const char *const names[] = {PYTHON_DIR, "python3", "python"};
    char path[PATH_MAX];
    char real[PATH_MAX];
    char ours[PATH_MAX];

    if (realpath(exe, ours) == NULL) {
        return true; /* nothing to compare with, so no reason to warn */
    }
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (join(path, sizeof(path), bin, names[i]) == 0 &&
            realpath(path, real) != NULL && strcmp(real, ours) == 0) {
            return true;
        }
    }
    return false;
}

CHECK_RESULT static int check_home(const char *dir, const struct cfg *cfg,
                                   const char *exe);

static int
check_home(const char *dir, const struct cfg *cfg, const char *exe)
{
    char why[WHY_MAX];
    char ignored[WHY_MAX];
    char bin[PATH_MAX];

    if (cfg->home[0] == '\0' || is_same_build(cfg->home, exe)) {
        return 0;
    }
    folder_of(exe, bin, sizeof(bin));
    if (!has_encodings_above(cfg->home, why, sizeof(why)) &&
        !has_encodings_above(bin, ignored, sizeof(ignored))) {
        log_error("--venv: %s: it needs the Python in %s: %s", dir, cfg->home,
                  why);
        return EX_CONFIG;
    }
    log_warning(
        "--venv: %s: it was created by the Python in %s, but this wsgi-cgi "
        "uses %s: create it again with %s if imports fail",
        dir, cfg->home, exe, exe);
    return 0;
}

static int
check_outside(const char *dir, const struct cfg *cfg)
{
    if (cfg->is_closed) {
        log_error("--venv: %s: it does not allow --user-site: its pyvenv.cfg "
                  "has no include-system-site-packages = true: add that line, "
                  "or leave out --user-site",
                  dir);
        return EX_CONFIG;
    }
    return 0;
}

int
venv_check(const char *dir, const char *exe, bool with_user)
{
    struct cfg cfg = {.has_version = false};

    assert(dir[0] == '/');
    int r = check_folder(dir);
    if (r == 0) {
        r = check_cfg(dir, &cfg);
    }
    if (r == 0) {
        r = check_version(dir, &cfg);
    }
    if (r == 0) {
        r = check_packages(dir);
    }
    if (r == 0) {
        r = check_python(dir);
    }
    if (r == 0 && with_user) {
        r = check_outside(dir, &cfg);
    }
    if (r == 0) {
        r = check_home(dir, &cfg, exe);
    }
    return r;
}
