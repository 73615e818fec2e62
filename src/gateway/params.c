#include "gateway/params.h"

#include "base/bytes.h"
#include "text/num.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MIN_PARAMS = 64 };

const struct params_refusal *
params_refusal(enum params_fault fault)
{
    static const struct params_refusal refusals[] = {
        [PARAMS_BROKEN] = {"400 Bad Request", "The request is malformed.",
                           "the variables contradict their lengths"},
        [PARAMS_BAD_BYTE] = {"400 Bad Request",
                             "The request has a character that cannot be "
                             "passed on.",
                             "a variable has a NUL, or a name that is empty or "
                             "has \"=\""},
        [PARAMS_TOO_MANY] = {"431 Request Header Fields Too Large",
                             "The request has more headers than this server "
                             "takes.",
                             "more variables than --limit-vars"},
        [PARAMS_TOO_LARGE] = {"431 Request Header Fields Too Large",
                              "The request's headers are larger than this "
                              "server takes.",
                              "the variables are larger than --limit-head"},
    };

    assert(fault > PARAMS_OK && fault < ARRAY_SIZE(refusals));
    return &refusals[fault];
}

void
params_init(struct params *p)
{
    memset(p, 0, sizeof *p);
}

void
params_clear(struct params *p)
{
    for (size_t i = 0; i < p->nowned; i++) {
        free(p->owned[i]);
    }
    p->nowned = 0;
    if (p->n > 0) {
        memset(p->slots, 0, p->nslots * sizeof *p->slots);
    }
    p->n = 0;
    p->nraw = 0;
    p->script_is_file = false;
    p->is_unsized = false;
}

void
params_fini(struct params *p)
{
    params_clear(p);
    free(p->v);
    free(p->slots);
    free(p->next);
    free(p->owned);
    free(p->raw);
    memset(p, 0, sizeof *p);
}

/* The slot with the name's index + 1, or the empty one where it belongs.
 * Inline: a small request looks sixty names up. */
ALWAYS_INLINE uint32_t *
slot_of(const struct params *p, const char *name, size_t n, uint32_t hash)
{
    uint32_t *at = &p->slots[hash & (p->nslots - 1)];

    for (uint32_t k = *at; k != 0; k = *at) {
        const struct param *e = &p->v[k - 1];
        if (e->hash == hash && e->name_len == n &&
            bytes_equal(e->name, name, n)) {
            break;
        }
        at = &p->next[k - 1];
    }
    return at;
}

static int
grow(struct params *p)
{
    assert(p->n == p->cap);
    size_t cap = p->cap == 0 ? MIN_PARAMS : p->cap * 2;
    struct param *v = realloc(p->v, cap * sizeof *v);
    if (v == NULL) {
        return -ENOMEM;
    }
    p->v = v;
    uint32_t *next = realloc(p->next, cap * sizeof *next);
    if (next == NULL) {
        return -ENOMEM;
    }
    p->next = next;
    uint32_t *slots = calloc(cap * 2, sizeof *slots);
    if (slots == NULL) {
        return -ENOMEM;
    }
    free(p->slots);
    p->slots = slots;
    p->nslots = cap * 2;
    p->cap = cap;
    for (size_t i = 0; i < p->n; i++) {
        next[i] = 0;
        *slot_of(p, v[i].name, v[i].name_len, v[i].hash) = (uint32_t)i + 1;
    }
    return 0;
}

char *
params_alloc(struct params *p, size_t n)
{
    if (p->nowned == p->owned_cap) {
        size_t cap = p->owned_cap == 0 ? 16 : p->owned_cap * 2;
        void **o = realloc(p->owned, cap * sizeof *o);
        if (o == NULL) {
            return NULL;
        }
        p->owned = o;
        p->owned_cap = cap;
    }
    char *mem = malloc(n + 1);
    if (mem != NULL) {
        p->owned[p->nowned++] = mem;
    }
    return mem;
}

static bool
name_is(const struct param *e, const char *name)
{
    size_t n = strlen(name);
    return e->name_len == n && memcmp(e->name, name, n) == 0;
}

/* Only repeated request headers are joined. Of a configuration parameter that
 * is sent twice the last one counts. */
static const char *
joiner(const struct param *e)
{
    if (!params_is_header(e->name, e->name_len) || name_is(e, "HTTP_HOST") ||
        name_is(e, "HTTP_AUTHORIZATION")) {
        return NULL;
    }
    return name_is(e, "HTTP_COOKIE") ? "; " : ", ";
}

static void
borrow(struct param *e, const char *value, size_t n)
{
    e->value = value;
    e->value_len = (uint32_t)n;
    e->room = 0;
}

static int
merge(struct params *p, struct param *e, const char *value, size_t n)
{
    const char *sep = joiner(e);

    assert(e->value != NULL && (e->room == 0 || e->value_len <= e->room));
    if (sep == NULL) {
        borrow(e, value, n);
        return 0;
    }
    size_t need = (size_t)e->value_len + 2 + n;
    char *mem = NULL;
    if (need > UINT32_MAX / 2) {
        return -ENOMEM;
    }
    if (need > e->room) {
        /* Twice as much: thousands of repeats must not take quadratic time. */
        mem = params_alloc(p, need * 2);
        if (mem == NULL) {
            return -ENOMEM;
        }
        memcpy(mem, e->value, e->value_len);
        e->value = mem;
        e->room = (uint32_t)(need * 2);
    }
    else {
        mem = (char *)(uintptr_t)
                  e->value; /* it has room, so params_alloc() made it */
    }
    memcpy(mem + e->value_len, sep, 2);
    memcpy(mem + e->value_len + 2, value, n);
    e->value_len = (uint32_t)need;
    return 0;
}

ALWAYS_INLINE int
add(struct params *p, const char *name, size_t nname, const char *value,
    size_t nvalue)
{
    if (p->n == p->cap) {
        int r = grow(p);
        if (r < 0) {
            return r;
        }
    }
    uint32_t hash = hash_bytes(name, nname);
    uint32_t *slot = slot_of(p, name, nname, hash);
    if (*slot != 0) {
        struct param *e = &p->v[*slot - 1];
        if (e->value != NULL) {
            return merge(p, e, value, nvalue);
        }
        borrow(e, value, nvalue);
        return 0;
    }
    p->v[p->n++] = (struct param){.name = name,
                                  .value = value,
                                  .name_len = (uint32_t)nname,
                                  .value_len = (uint32_t)nvalue,
                                  .hash = hash};
    p->next[p->n - 1] = 0;
    *slot = (uint32_t)p->n;
    return 0;
}

static int
remember(struct params *p, struct param e)
{
    assert(p->keep_raw);
    if (p->nraw == p->raw_cap) {
        size_t cap = p->raw_cap == 0 ? MIN_PARAMS : p->raw_cap * 2;
        struct param *raw = realloc(p->raw, cap * sizeof *raw);
        if (raw == NULL) {
            return -ENOMEM;
        }
        p->raw = raw;
        p->raw_cap = cap;
    }
    e.hash = hash_bytes(e.name, e.name_len);
    e.room = *slot_of(p, e.name, e.name_len, e.hash);
    p->raw[p->nraw++] = e;
    return 0;
}

int
params_add(struct params *p, const char *name, size_t nname, const char *value,
           size_t nvalue)
{
    int r = add(p, name, nname, value, nvalue);

    if (r < 0 || !p->keep_raw) {
        return r;
    }
    return remember(p, (struct param){.name = name,
                                      .value = value,
                                      .name_len = (uint32_t)nname,
                                      .value_len = (uint32_t)nvalue});
}

struct param *
params_find(const struct params *p, const char *name, size_t n, uint32_t hash)
{
    if (p->n == 0) {
        return NULL;
    }
    uint32_t k = *slot_of(p, name, n, hash);
    return k == 0 || p->v[k - 1].value == NULL ? NULL : &p->v[k - 1];
}

bool
params_is_secret(const struct param *e)
{
    static const char *const words[] = {"AUTHORIZATION", "COOKIE", "PASSW",
                                        "SECRET",        "TOKEN",  "API_KEY",
                                        "APIKEY"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        size_t n = strlen(words[i]);
        for (size_t at = 0; at + n <= e->name_len; at++) {
            if (strncasecmp(e->name + at, words[i], n) == 0) {
                return true;
            }
        }
    }
    return false;
}

int
params_set(struct params *p, const char *name, size_t nname, const char *value,
           size_t nvalue)
{
    struct param *e = params_find(p, name, nname, hash_bytes(name, nname));

    if (e != NULL) {
        borrow(e, value, nvalue);
        return 0;
    }
    return add(p, name, nname, value, nvalue);
}

int
params_set_length(struct params *p, uint64_t length)
{
    enum { DIGITS = 20 };
    char *mem = params_alloc(p, DIGITS);

    if (mem == NULL) {
        return -ENOMEM;
    }
    int n = snprintf(mem, DIGITS + 1, "%llu", (unsigned long long)length);
    return params_set(p, "CONTENT_LENGTH", 14, mem, (size_t)n);
}

int64_t
params_length(const struct params *p, const char *name)
{
    const struct param *e = params_get(p, name);
    uint64_t n;

    if (e == NULL || num_parse(e->value, e->value_len, INT64_MAX, &n) < 0) {
        return -1;
    }
    return (int64_t)n;
}
