/*
 * params.h - the CGI variables of one request, merged and corrected
 *
 * What:      what the server sent (environment or FastCGI PARAMS) goes in raw
 *            and in order; what PEP 3333 wants comes out: duplicates merged,
 *            servers' quirks corrected, required names always set.
 * Owner:     the request. Names and values are borrowed from the caller's
 *            bytes, except those that were merged or added, which the params
 *            own.
 * Lifetime:  params_clear() ends all values; keeps memory for the next request.
 * Threads:   one at a time.                                      GIL: not used.
 * Errors:    0 or -ENOMEM; logs nothing.                         Blocks: never.
 * Standards: RFC 3875, 4.1; PEP 3333, environ Variables.
 */
#ifndef GATEWAY_PARAMS_H
#define GATEWAY_PARAMS_H

#include "base/compiler.h"
#include "base/hash.h"
#include "conf/config.h"
#include "gateway/rewrite.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct param {
    const char *name;  /* not NUL-terminated */
    const char *value; /* NULL: dropped, to be skipped */
    uint32_t name_len;
    uint32_t value_len;
    uint32_t hash; /* hash_bytes(name) */
    uint32_t room; /* bytes the value may grow to in place; 0 = borrowed */
};

struct params {
    struct param *v; /* n entries in the order of first appearance */
    size_t n, cap;
    uint32_t *slots; /* by the hash: index + 1 of the first with it, 0 = none */
    uint32_t *next;  /* of each entry: index + 1 of another in its slot */
    size_t nslots;   /* power of two */
    void **owned;    /* malloc'ed values */
    size_t nowned, owned_cap;
    struct param *raw; /* what was added, in order: only where keep_raw is set;
                        * room is the index in v + 1 */
    size_t nraw, raw_cap;
    bool keep_raw;       /* --doctor */
    bool script_is_file; /* set by CGI: SCRIPT_NAME names a script on disk, so
                          * it is never the whole path of the URL */
    bool is_unsized;     /* CONTENT_LENGTH was -1: a body of unknown length */
};

/* Why the application does not get a request. */
enum params_fault {
    PARAMS_OK,
    PARAMS_BROKEN,   /* a length goes beyond the end */
    PARAMS_BAD_BYTE, /* a NUL, "=" in a name, or no name at all */
    PARAMS_TOO_MANY, /* --limit-vars */
    PARAMS_TOO_LARGE /* --limit-head */
};

/* For the client: status and sentence; for the log: reason. */
struct params_refusal {
    const char *status, *sentence, *reason;
};

/* Not for PARAMS_OK. */
const struct params_refusal *params_refusal(enum params_fault fault);

void params_init(struct params *p);
void params_fini(struct params *p);
void params_clear(struct params *p);

/* Adds one raw variable. A name seen before: HTTP_* are joined with ", "
 * (HTTP_COOKIE "; "); of HTTP_HOST, HTTP_AUTHORIZATION and all others the last
 * wins. */
CHECK_RESULT int params_add(struct params *p, const char *name, size_t nname,
                            const char *value, size_t nvalue);

/* Sets a variable to one value, whatever it was. Name and value must outlive
 * the request. 0 or -ENOMEM. */
CHECK_RESULT int params_set(struct params *p, const char *name, size_t nname,
                            const char *value, size_t nvalue);

/* Memory for a value of n bytes that lives until params_clear(); or NULL. */
CHECK_RESULT char *params_alloc(struct params *p, size_t n);

/* NULL if absent or dropped. hash is hash_bytes(name, n). */
struct param *params_find(const struct params *p, const char *name, size_t n,
                          uint32_t hash);

/* The same; the hash of a constant name is computed at compile time. */
ALWAYS_INLINE const struct param *
params_get(const struct params *p, const char *name)
{
    return params_find(p, name, strlen(name), hash_bytes(name, strlen(name)));
}

/* Removes it. */
ALWAYS_INLINE void
params_drop(struct params *p, const char *name)
{
    struct param *e =
        params_find(p, name, strlen(name), hash_bytes(name, strlen(name)));

    if (e != NULL) {
        e->value = NULL;
    }
}

/* True for a variable that the client names: a header of its own. */
static inline bool
params_is_header(const char *name, size_t n)
{
    return n >= 5 && memcmp(name, "HTTP_", 5) == 0;
}

/* True if the name says that the value is secret: pages with it get into
 * screenshots. */
bool params_is_secret(const struct param *e);

/* True if the variable exists and has exactly this value. */
ALWAYS_INLINE bool
params_is(const struct params *p, const char *name, const char *value)
{
    const struct param *e = params_get(p, name);

    return e != NULL && e->value_len == strlen(value) &&
           memcmp(e->value, value, e->value_len) == 0;
}

/* True if the request's path is exactly this one: the path of REQUEST_URI, not
 * decoded, or else SCRIPT_NAME and PATH_INFO together. */
bool params_path_is(const struct params *p, const char *path);

/* True if it is --status-path or --ping-path. Also before params_correct(), and
 * where that finds the path outside --mount. */
bool params_is_status_path(const struct params *p, const struct config *config);

/* Corrects what the server sent to what PEP 3333 wants; call once after the
 * last params_add(). 0, -ENOMEM, -EBADMSG (no REQUEST_METHOD: answer 400), or
 * -ENOENT (the path lies outside --mount: answer 404). */
CHECK_RESULT int params_correct(struct params *p, const struct config *config);

/* What these variables say about rewrites, with these two parts of the path;
 * app may be NULL. Also before params_correct(). */
struct rewrite_facts params_rewrite_facts(const struct params *p,
                                          const char *app,
                                          struct path_part script,
                                          struct path_part info);

/* Sets CONTENT_LENGTH. 0 or -ENOMEM. */
CHECK_RESULT int params_set_length(struct params *p, uint64_t length);

/* The number a variable such as CONTENT_LENGTH holds, -1 where unknown. */
int64_t params_length(const struct params *p, const char *name);

/* After params_correct(): true for https. */
bool params_is_https(const struct params *p);

#endif
