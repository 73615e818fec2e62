#include "process/environment.h"

#include "os/log.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

extern char **environ;

/* Copies of the pointers: setenv() changes the array, but no string that was in
 * it. NULL: --env has set nothing. */
static char **before;

static int
remember(void)
{
    size_t n = 0;

    while (environ[n] != NULL) {
        n++;
    }
    char **copy = calloc(n + 1, sizeof *copy);
    if (copy == NULL) {
        return -1;
    }
    memcpy(copy, environ, n * sizeof *copy);
    before = copy;
    return 0;
}

static int
set(const char *assignment)
{
    size_t n = strcspn(assignment, "=");
    char *name = strndup(assignment, n);
    int r = name == NULL ? -1 : setenv(name, assignment + n + 1, 1);

    free(name);
    return r;
}

int
environment_set(const struct config *config)
{
    int r = config->env.n > 0 && before == NULL ? remember() : 0;

    for (size_t i = 0; r == 0 && i < config->env.n; i++) {
        r = set(config->env.v[i]);
    }
    if (r < 0) {
        log_error("--env: out of memory");
        return EX_OSERR;
    }
    return 0;
}

char **
environment_before(void)
{
    return before != NULL ? before : environ;
}
