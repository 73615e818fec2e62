#include "mode/script_check.h"

#include "conf/shebang.h"
#include "os/log.h"
#include "os/path_access.h"

#include <assert.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { WHY_MAX = 4 * PATH_MAX };

static const char our_name[] = "wsgi-cgi";

/* The #! line, and its words without a CR at the end. */
struct script {
    const char *path;
    char line[PATH_MAX];
    size_t length; /* of the line, including a CR */
    enum shebang_before before;
    bool has_cr;
    char program[PATH_MAX];
    const char *rest;
};

static void
warn(const struct script *s, const char *why)
{
    log_warning("%s cannot be run as a CGI script: %s", s->path, why);
}

/* -- the line -------------------------------------------------------------- */

static const char *
base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static bool
is_env(const struct script *s)
{
    return strcmp(base_name(s->program), "env") == 0;
}

static bool
is_this_program(const char *path)
{
    struct stat self, st;
    return stat("/proc/self/exe", &self) == 0 && stat(path, &st) == 0 &&
           st.st_dev == self.st_dev && st.st_ino == self.st_ino;
}

/* Also with other names, such as wsgi-cgi3.11, and after env(1). */
static bool
is_ours(const struct script *s)
{
    return is_this_program(s->program) ||
           strncmp(base_name(s->program), our_name, strlen(our_name)) == 0 ||
           (is_env(s) && strstr(s->rest, our_name) != NULL);
}

static bool
read_script(struct script *s, const char *path)
{
    const char *program;
    size_t n;

    s->path = path;
    if (!shebang_read(path, s->line, sizeof s->line, &s->before)) {
        return false;
    }
    s->length = strlen(s->line);
    assert(s->length > 0); /* at least "#!" */
    s->has_cr = s->line[s->length - 1] == '\r';
    s->line[s->length - s->has_cr] = '\0';
    shebang_divide(s->line, &program, &n, &s->rest);
    (void)snprintf(s->program, sizeof s->program, "%.*s", (int)n, program);
    return is_ours(s);
}

static void
check_line(const struct script *s)
{
    char why[WHY_MAX];

    if (s->before == SHEBANG_AFTER_MARK) {
        warn(s, "a byte order mark (BOM) comes before its #! line, so that the "
                "kernel does not see that line: save it as UTF-8 without one");
    }
    if (s->before == SHEBANG_AFTER_BLANKS) {
        warn(s, "its first two bytes are not #!: nothing may come before "
                "them");
    }
    if (s->has_cr && (*s->rest == '\0' || is_env(s))) {
        warn(s, "its #! line ends in CR LF, as in files from Windows, and the "
                "kernel regards the CR as a part of the program's name: "
                "dos2unix removes it");
    }
    else if (s->has_cr) {
        log_warning("%s: its #! line ends in CR LF, as in files from Windows; "
                    "without an option in it, the kernel would not find the "
                    "program: dos2unix removes the CR",
                    s->path);
    }
    if (s->length > SHEBANG_KERNEL) {
        (void)snprintf(why, sizeof why,
                       "its #! line has %zu bytes, of which the kernel reads "
                       "%d: it is cut after \"%.*s\"; put options into "
                       "WSGI_CGI_OPTIONS",
                       s->length, SHEBANG_KERNEL, 20,
                       s->line + SHEBANG_KERNEL - 20);
        warn(s, why);
    }
}

/* -- the files ------------------------------------------------------------- */

static void
check_program(const struct script *s)
{
    char why[WHY_MAX], reason[WHY_MAX / 2];

    if (is_env(s)) {
        if (s->rest[0] != '-' && strpbrk(s->rest, " \t") != NULL) {
            warn(s, "env regards all words after it as one: write env -S");
        }
        return;
    }
    if (s->program[0] != '/') {
        (void)snprintf(
            why, sizeof why,
            "its #! line names \"%.*s\", which is not an absolute path",
            PATH_MAX, s->program);
        warn(s, why);
    }
    else if (path_access(s->program, X_OK, NULL, reason, sizeof reason) < 0) {
        char own[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", own, sizeof own);
        (void)snprintf(why, sizeof why,
                       "its #! line names %.*s: %s; this wsgi-cgi is %.*s",
                       PATH_MAX, s->program, reason, n < 0 ? 0 : (int)n, own);
        warn(s, why);
    }
}

static void
check_file(const struct script *s)
{
    char why[WHY_MAX];
    struct statvfs fs;
    struct stat st;

    if (stat(s->path, &st) == 0 && (st.st_mode & 0111) == 0) {
        warn(s, "it is not executable: chmod +x");
    }
    else if (path_access(s->path, X_OK, NULL, why, sizeof why) < 0) {
        warn(s, why);
    }
    if (statvfs(s->path, &fs) == 0 && (fs.f_flag & ST_NOEXEC) != 0) {
        warn(s, "it is in a file system that is mounted noexec");
    }
}

static void
check_options(const struct script *s)
{
    if (!is_env(s) && s->rest[0] == '-') {
        log_notice("%s: the options in its #! line were not used here; to "
                   "check it with them, execute it with "
                   "WSGI_CGI_OPTIONS=--check",
                   s->path);
    }
}

void
script_check(const char *path, bool with_options)
{
    static struct script s;

    if (read_script(&s, path)) {
        if (!with_options) {
            check_options(&s);
        }
        check_line(&s);
        check_program(&s);
        check_file(&s);
    }
}
