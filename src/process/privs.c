#include "process/privs.h"

#include "os/log.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

enum { GROUPS_FIRST = 64, GROUPS_MAX = 65536 /* the kernel's NGROUPS_MAX */ };

/* -- who ------------------------------------------------------------------- */

/* Real, effective and saved: each could be a way back to root. */
static bool
has_ids(uid_t uid, gid_t gid)
{
    uid_t ru, eu, su;
    gid_t rg, eg, sg;

    return getresuid(&ru, &eu, &su) == 0 && getresgid(&rg, &eg, &sg) == 0 &&
           ru == uid && eu == uid && su == uid && rg == gid && eg == gid &&
           sg == gid;
}

/* All groups of the user. A number without an entry has only the one group. */
static int
find_groups(struct privs *p)
{
    int n = GROUPS_FIRST;

    for (;;) {
        gid_t *groups = reallocarray(p->groups, (size_t)n, sizeof *groups);
        if (groups == NULL) {
            log_error("out of memory");
            return EX_OSERR;
        }
        p->groups = groups;
        if (p->account.name[0] == '\0') {
            groups[0] = p->gid;
            n = 1;
            break;
        }
        int room = n;
        if (getgrouplist(p->account.name, p->gid, groups, &n) >= 0) {
            break;
        }
        if (n <= room || n > GROUPS_MAX) {
            log_error("--user: the groups of %s cannot be found", p->who);
            return EX_NOUSER;
        }
    }
    assert(n > 0 && n <= GROUPS_MAX);
    p->ngroups = (size_t)n;
    return 0;
}

static int
no_such(const char *option, const char *text, const char *what)
{
    log_error("--%s: invalid value \"%s\": expected the name of a %s of this "
              "system, or a number",
              option, text, what);
    return EX_NOUSER;
}

int
privs_find(const struct config *config, struct privs *ret)
{
    struct privs *p = ret;

    *p = (struct privs){.uid = geteuid(), .gid = getegid()};
    if (config->user == NULL && config->group == NULL) {
        return 0;
    }
    p->wanted = true;
    p->who = config->user != NULL ? config->user : config->group;
    if (config->user != NULL) {
        if (user_lookup(config->user, &p->account) < 0) {
            return no_such("user", config->user, "user");
        }
        p->uid = p->account.uid;
        p->gid = p->account.gid;
    }
    if (config->group != NULL && group_lookup(config->group, &p->gid) < 0) {
        return no_such("group", config->group, "group");
    }
    if (p->gid == (gid_t)-1) {
        log_error("--user: there is no user %s, and so no group: add --group",
                  config->user);
        return EX_USAGE;
    }
    p->already = has_ids(p->uid, p->gid);
    if (!p->already && geteuid() != 0) {
        log_error("--%s: only root can become %s (uid %u, gid %u); this is uid "
                  "%u, gid %u",
                  config->user != NULL ? "user" : "group", p->who,
                  (unsigned)p->uid, (unsigned)p->gid, (unsigned)geteuid(),
                  (unsigned)getegid());
        return EX_NOPERM;
    }
    return p->already ? 0 : find_groups(p);
}

/* -- the drop -------------------------------------------------------------- */

static int
by_number(const void *a, const void *b)
{
    const gid_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static bool
has_groups(const struct privs *p)
{
    gid_t *now = calloc(p->ngroups + 1, sizeof *now);
    bool same =
        now != NULL && getgroups((int)p->ngroups + 1, now) == (int)p->ngroups;

    if (same) {
        qsort(now, p->ngroups, sizeof *now, by_number);
        qsort(p->groups, p->ngroups, sizeof *p->groups, by_number);
        same = memcmp(now, p->groups, p->ngroups * sizeof *now) == 0;
    }
    free(now);
    return same;
}

/* Success of the calls is not enough. Capabilities that securebits or a
 * security module keep are a way back that the IDs do not show. */
static const char *
find_fault(const struct privs *p)
{
    if (!has_ids(p->uid, p->gid)) {
        return "the IDs are not what was set";
    }
    if (!has_groups(p)) {
        return "the groups are not what was set";
    }
    if (p->uid != 0 && (setuid(0) == 0 || seteuid(0) == 0)) {
        return "the process could become root again";
    }
    if (p->uid != 0 && p->gid != 0 && setgid(0) == 0) {
        return "the process could take root's group again";
    }
    return NULL;
}

/* NULL, or the call that failed. The groups come first: that needs root. */
static const char *
change(const struct privs *p)
{
    if (setgroups(p->ngroups, p->groups) < 0) {
        return "setgroups";
    }
    if (setresgid(p->gid, p->gid, p->gid) < 0) {
        return "setresgid";
    }
    if (setresuid(p->uid, p->uid, p->uid) < 0) {
        return "setresuid";
    }
    return NULL;
}

static int
become(const struct privs *p)
{
    assert(p->groups != NULL && p->ngroups > 0); /* privs_find() was called */
    const char *call = change(p);

    if (call != NULL) {
        log_error("cannot become %s: %s: %s", p->who, call, strerror(errno));
        return EX_NOPERM;
    }
    const char *fault = find_fault(p);
    if (fault != NULL) {
        log_error("cannot become %s: %s", p->who, fault);
        return EX_NOPERM;
    }
    /* As after an execve() by that user: core dumps and debuggers are allowed,
     * and the user owns /proc/self. Our memory holds no secret of root. */
    (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return 0;
}

/* Libraries would look into root's HOME, where this user may not go. Also after
 * a restart, when the IDs are already right. */
static int
set_home(const struct user_entry *a)
{
    if (a->name[0] != '\0' &&
        (setenv("HOME", a->home, 1) < 0 || setenv("USER", a->name, 1) < 0 ||
         setenv("LOGNAME", a->name, 1) < 0)) {
        log_error("out of memory");
        return EX_OSERR;
    }
    return 0;
}

int
privs_drop(struct privs *p)
{
    int status = 0;

    if (p->wanted) {
        status = set_home(&p->account);
    }
    if (status == 0 && p->wanted && !p->already) {
        status = become(p);
    }
    free(p->groups);
    p->groups = NULL;
    return status;
}
