/*
 * shebang.c - the #! line of a script
 */
#include "conf/shebang.h"

#include "os/fd.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads the first bytes of a regular file. The number of bytes; 0 on
 * failure. */
static size_t
read_start(const char *path, char *to, size_t size)
{
    CLEANUP(fd_close)
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return 0;
    }
    ssize_t n = read(fd, to, size);
    return n > 0 ? (size_t)n : 0;
}

bool
shebang_read(const char *path, char *to, size_t size,
             enum shebang_before *ret_before)
{
    static const char mark[] = "\xEF\xBB\xBF";
    size_t n = read_start(path, to, size - 1);
    size_t before;

    assert(n < size);
    to[n] = '\0';
    before = strncmp(to, mark, strlen(mark)) == 0 ? strlen(mark) : 0;
    *ret_before = before > 0 ? SHEBANG_AFTER_MARK : SHEBANG_IS_FIRST;
    if (strspn(to + before, " \t\r\n") > 0) {
        before += strspn(to + before, " \t\r\n");
        *ret_before = SHEBANG_AFTER_BLANKS;
    }
    if (to[before] != '#' || to[before + 1] != '!') {
        return false;
    }
    memmove(to, to + before, n + 1 - before);
    to[strcspn(to, "\n")] = '\0';
    return true;
}

void
shebang_divide(const char *line, const char **ret_program,
               size_t *ret_program_len, const char **ret_rest)
{
    const char *s = line + 2;
    assert(line[0] == '#' && line[1] == '!');
    s += strspn(s, " \t");
    *ret_program = s;
    *ret_program_len = strcspn(s, " \t");
    s += *ret_program_len;
    *ret_rest = s + strspn(s, " \t");
}
