/*
 * user_lookup.c - finds users and groups by name or number
 */
#include "os/user_lookup.h"

#include "text/num.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Not the largest number: chown() and setresuid() take it as "unchanged". */
static int
parse_id(const char *text, unsigned *ret)
{
    uint64_t id;

    if (num_parse(text, strlen(text), UINT32_MAX - 1, &id) < 0) {
        return -ENOENT;
    }
    *ret = (unsigned)id;
    return 0;
}

int
user_lookup(const char *text, struct user_entry *ret)
{
    /* Names first, even names of digits, as chown(1) does it. */
    const struct passwd *pw = getpwnam(text);
    unsigned id;

    *ret = (struct user_entry){.gid = (gid_t)-1};
    if (pw == NULL) {
        if (parse_id(text, &id) < 0) {
            return -ENOENT;
        }
        ret->uid = id;
        pw = getpwuid(id);
        if (pw == NULL) {
            return 0;
        }
    }
    ret->uid = pw->pw_uid;
    ret->gid = pw->pw_gid;
    (void)snprintf(ret->name, sizeof ret->name, "%s", pw->pw_name);
    (void)snprintf(ret->home, sizeof ret->home, "%s", pw->pw_dir);
    return 0;
}

int
group_lookup(const char *text, gid_t *ret)
{
    const struct group *gr = getgrnam(text);
    unsigned id;

    if (gr != NULL) {
        *ret = gr->gr_gid;
        return 0;
    }
    if (parse_id(text, &id) < 0) {
        return -ENOENT;
    }
    *ret = id;
    return 0;
}

void
user_local_name(uid_t uid, char to[USER_NAME_SIZE])
{
    char strings[PATH_MAX];
    struct passwd pw = {.pw_name = NULL}, *found;
    FILE *f = fopen("/etc/passwd", "re");

    (void)snprintf(to, USER_NAME_SIZE, "uid %u", (unsigned)uid);
    while (f != NULL &&
           fgetpwent_r(f, &pw, strings, sizeof strings, &found) == 0) {
        if (pw.pw_uid == uid) {
            (void)snprintf(to, USER_NAME_SIZE, "%s", pw.pw_name);
            break;
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
}
