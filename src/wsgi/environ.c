/*
 * environ.c - makes environ from the CGI variables
 *
 * A request whose names are in the cache costs one comparison for each
 * variable, a new str for each changed value, and one PyDict_Copy(): an eighth
 * of the instructions of decoding everything.
 */
#include "wsgi/environ.h"

#include "base/bytes.h"
#include "gateway/params.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Longer values are not cached: they rarely come again unchanged. */
enum { VALUE_KEPT_MAX = 256 };

struct environ_slot {
    PyObject *key; /* owned */
    /* The template's, borrowed. Py_None: not cached, set it in every copy.
     * NULL: the server's value is ignored, because the key is ours. */
    PyObject *value;
    bool is_secret; /* never cached */
};

/* Bits of environ_shape.flags. */
enum {
    FLAG_HTTPS = 1 << 0,
    FLAG_TERMINATED = 1 << 1,
    FLAG_CGI = 1 << 2,
    FLAG_ROLE = 1 << 4 /* multiplied by enum request_role */
};

/* Names that applications look up by literals: these are interned, so that a
 * lookup finds the same object without comparing characters. Others are not,
 * because some versions of CPython never free interned strings, and clients
 * choose header names. */
static const char *const known_names[] = {
    "AUTH_TYPE",
    "CONTENT_LENGTH",
    "CONTENT_TYPE",
    "DOCUMENT_ROOT",
    "DOCUMENT_URI",
    "GATEWAY_INTERFACE",
    "HTTPS",
    "HTTP_ACCEPT",
    "HTTP_ACCEPT_CHARSET",
    "HTTP_ACCEPT_ENCODING",
    "HTTP_ACCEPT_LANGUAGE",
    "HTTP_AUTHORIZATION",
    "HTTP_CACHE_CONTROL",
    "HTTP_CONNECTION",
    "HTTP_COOKIE",
    "HTTP_DNT",
    "HTTP_EXPECT",
    "HTTP_FORWARDED",
    "HTTP_HOST",
    "HTTP_IF_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_RANGE",
    "HTTP_IF_UNMODIFIED_SINCE",
    "HTTP_ORIGIN",
    "HTTP_PRAGMA",
    "HTTP_PRIORITY",
    "HTTP_RANGE",
    "HTTP_REFERER",
    "HTTP_SEC_CH_UA",
    "HTTP_SEC_CH_UA_MOBILE",
    "HTTP_SEC_CH_UA_PLATFORM",
    "HTTP_SEC_FETCH_DEST",
    "HTTP_SEC_FETCH_MODE",
    "HTTP_SEC_FETCH_SITE",
    "HTTP_SEC_FETCH_USER",
    "HTTP_TE",
    "HTTP_UPGRADE_INSECURE_REQUESTS",
    "HTTP_USER_AGENT",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REAL_IP",
    "HTTP_X_REQUESTED_WITH",
    "PATH_INFO",
    "PATH_TRANSLATED",
    "QUERY_STRING",
    "REDIRECT_STATUS",
    "REMOTE_ADDR",
    "REMOTE_HOST",
    "REMOTE_PORT",
    "REMOTE_USER",
    "REQUEST_METHOD",
    "REQUEST_SCHEME",
    "REQUEST_URI",
    "SCRIPT_FILENAME",
    "SCRIPT_NAME",
    "SERVER_ADDR",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "SERVER_SOFTWARE",
};

/* Values that must not stay in memory after their request. */
static const char *const secret_names[] = {
    "HTTP_AUTHORIZATION",
    "HTTP_COOKIE",
    "HTTP_PROXY_AUTHORIZATION",
    "REDIRECT_HTTP_AUTHORIZATION",
};

static PyObject *
decode(const char *bytes, size_t n)
{
    return PyUnicode_DecodeLatin1(bytes, (Py_ssize_t)n, NULL);
}

ALWAYS_INLINE bool
same_text(PyObject *str, const char *bytes, size_t n)
{
    const void *data = PyUnicode_1BYTE_DATA(str);

    return (size_t)PyUnicode_GET_LENGTH(str) == n &&
           bytes_equal(data, bytes, n);
}

/* -- the cache ------------------------------------------------------------- */

static int
set_bool(PyObject *dict, const char *key, bool value)
{
    return PyDict_SetItemString(dict, key, value ? Py_True : Py_False);
}

static int
add_constants(PyObject *dict, const struct module_state *types,
              struct wsgi_flags flags)
{
    CLEANUP(py_clear) PyObject *version = Py_BuildValue("(ii)", 1, 0);

    if (version == NULL ||
        PyDict_SetItemString(dict, "wsgi.version", version) < 0 ||
        PyDict_SetItemString(dict, "wsgi.errors", types->wsgi_errors) < 0 ||
        PyDict_SetItemString(dict, "wsgi.file_wrapper",
                             (PyObject *)types->file_wrapper) < 0 ||
        set_bool(dict, "wsgi.multithread", flags.multithread) < 0 ||
        set_bool(dict, "wsgi.multiprocess", flags.multiprocess) < 0) {
        return -1;
    }
    return 0;
}

static int
intern_known(PyObject *known)
{
    for (size_t i = 0; i < ARRAY_SIZE(known_names); i++) {
        CLEANUP(py_clear)
        PyObject *name = PyUnicode_InternFromString(known_names[i]);
        if (name == NULL || PyDict_SetItem(known, name, name) < 0) {
            return -1;
        }
    }
    return 0;
}

int
environ_init(struct environ_cache *c, struct after_response *after,
             const struct module_state *types, struct wsgi_flags flags)
{
    *c = (struct environ_cache){
        .after = after, .constants = PyDict_New(), .known = PyDict_New()};
    c->key_input = PyUnicode_InternFromString("wsgi.input");
    c->key_after = PyUnicode_InternFromString("wsgi_cgi.after_response");
    c->key_data = PyUnicode_InternFromString("wsgi_cgi.data");
    c->key_scheme = PyUnicode_InternFromString("wsgi.url_scheme");
    c->key_terminated = PyUnicode_InternFromString("wsgi.input_terminated");
    c->key_once = PyUnicode_InternFromString("wsgi.run_once");
    c->key_role = PyUnicode_InternFromString("wsgi_cgi.role");
    c->key_request_id = PyUnicode_InternFromString("wsgi_cgi.request_id");
    if (c->constants == NULL || c->known == NULL || c->key_input == NULL ||
        c->key_after == NULL || c->key_data == NULL || c->key_scheme == NULL ||
        c->key_terminated == NULL || c->key_once == NULL ||
        c->key_role == NULL || c->key_request_id == NULL ||
        intern_known(c->known) < 0) {
        return -1;
    }
    return add_constants(c->constants, types, flags);
}

static void
shape_fini(const struct environ_cache *c, struct environ_shape *s)
{
    if (s->after != NULL && s->after == c->after->callable) {
        assert(c->after->in_templates > 0);
        c->after->in_templates--;
    }
    for (size_t i = 0; i < s->n; i++) {
        Py_CLEAR(s->slots[i].key);
    }
    free(s->slots);
    Py_CLEAR(s->template);
    *s = (struct environ_shape){.n = 0};
}

void
environ_fini(struct environ_cache *c)
{
    for (size_t i = 0; i < ENVIRON_SHAPES; i++) {
        shape_fini(c, &c->shapes[i]);
    }
    Py_CLEAR(c->constants);
    Py_CLEAR(c->known);
    Py_CLEAR(c->key_input);
    Py_CLEAR(c->key_after);
    Py_CLEAR(c->key_data);
    Py_CLEAR(c->key_scheme);
    Py_CLEAR(c->key_terminated);
    Py_CLEAR(c->key_once);
    Py_CLEAR(c->key_role);
    Py_CLEAR(c->key_request_id);
}

/* -- a shape --------------------------------------------------------------- */

static unsigned
get_flags(const struct request *q)
{
    return (params_is_https(&q->params) ? (unsigned)FLAG_HTTPS : 0) |
           (q->input_terminated ? (unsigned)FLAG_TERMINATED : 0) |
           (q->is_cgi ? (unsigned)FLAG_CGI : 0) |
           (unsigned)q->role * (unsigned)FLAG_ROLE;
}

static int
set_text(PyObject *dict, PyObject *key, const char *text)
{
    CLEANUP(py_clear) PyObject *value = PyUnicode_InternFromString(text);

    return value == NULL ? -1 : PyDict_SetItem(dict, key, value);
}

static int
add_request_constants(const struct environ_cache *c, PyObject *template,
                      const struct request *q)
{
    const char *role = q->role == ROLE_AUTHORIZER ? "AUTHORIZER"
                       : q->role == ROLE_FILTER   ? "FILTER"
                                                  : "RESPONDER";

    if (set_text(template, c->key_scheme,
                 params_is_https(&q->params) ? "https" : "http") < 0 ||
        set_text(template, c->key_role, role) < 0 ||
        PyDict_SetItem(template, c->key_once, q->is_cgi ? Py_True : Py_False) <
            0 ||
        PyDict_SetItem(template, c->key_input, Py_None) < 0 ||
        PyDict_SetItem(template, c->key_after, Py_None) < 0 ||
        PyDict_SetItem(template, c->key_request_id, Py_None) < 0) {
        return -1;
    }
    if (q->input_terminated &&
        PyDict_SetItem(template, c->key_terminated, Py_True) < 0) {
        return -1;
    }
    return q->role != ROLE_FILTER
               ? 0
               : PyDict_SetItem(template, c->key_data, Py_None);
}

static bool
is_secret(const struct param *p)
{
    for (size_t i = 0; i < ARRAY_SIZE(secret_names); i++) {
        if (p->name_len == strlen(secret_names[i]) &&
            memcmp(p->name, secret_names[i], p->name_len) == 0) {
            return true;
        }
    }
    return false;
}

/* Fills in the slot for p, and adds its key to the template. */
static int
slot_init(struct environ_slot *slot, const struct environ_cache *c,
          PyObject *template, const struct param *p)
{
    PyObject *key = decode(p->name, p->name_len);

    if (key == NULL) {
        return -1;
    }
    PyObject *same = PyDict_GetItemWithError(c->known, key);
    if (same != NULL) {
        Py_SETREF(key, Py_NewRef(same));
    }
    *slot = (struct environ_slot){.key = key, .is_secret = is_secret(p)};
    int is_ours = PyDict_Contains(template, key);
    if (is_ours != 0) {
        return is_ours < 0 ? -1 : 0;
    }
    slot->value = Py_None;
    return PyDict_SetItem(template, key, Py_None);
}

/* Makes s the shape of q without its values, whatever s was before. */
static int
shape_build(struct environ_shape *s, const struct environ_cache *c,
            const struct request *q, uint32_t hash, size_t n)
{
    shape_fini(c, s);
    s->slots = calloc(n + 1, sizeof *s->slots);
    s->template = PyDict_Copy(c->constants);
    if (s->slots == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (s->template == NULL || add_request_constants(c, s->template, q) < 0) {
        return -1;
    }
    for (size_t i = 0; i < q->params.n; i++) {
        const struct param *p = &q->params.v[i];
        assert(p->value == NULL || s->n < n);
        if (p->value != NULL &&
            slot_init(&s->slots[s->n++], c, s->template, p) < 0) {
            return -1;
        }
    }
    s->hash = hash;
    s->flags = get_flags(q);
    s->nparams = q->params.n;
    s->last_hash = q->params.n == 0 ? 0 : q->params.v[q->params.n - 1].hash;
    return 0;
}

/* -- a request ------------------------------------------------------------- */

/* Updates one value of the template. */
static int
slot_update(struct environ_slot *slot, PyObject *template,
            const struct param *p)
{
    if (slot->value == NULL) {
        return 0;
    }
    if (slot->is_secret || p->value_len > VALUE_KEPT_MAX) {
        if (slot->value == Py_None) {
            return 0;
        }
        slot->value = Py_None;
        return PyDict_SetItem(template, slot->key, Py_None);
    }
    if (slot->value != Py_None &&
        same_text(slot->value, p->value, p->value_len)) {
        return 0;
    }
    CLEANUP(py_clear) PyObject *value = decode(p->value, p->value_len);
    if (value == NULL) {
        return -1;
    }
    slot->value = value; /* borrowed: the template owns it */
    if (PyDict_SetItem(template, slot->key, value) < 0) {
        slot->value = NULL;
        return -1;
    }
    return 0;
}

/* The callable is the same for most requests, so the template has it and the
 * copies need not set it. */
static int
update_after(const struct environ_cache *c, struct environ_shape *s)
{
    PyObject *now = after_response_callable(c->after);

    if (now == NULL || PyDict_SetItem(s->template, c->key_after, now) < 0) {
        return -1;
    }
    s->after = now;
    c->after->in_templates++;
    return 0;
}

/* 1: done. 0: these are not the names of q. -1 with an exception. *ret_rest is
 * the number of values that the copy still needs. */
static int
shape_update(const struct environ_cache *c, struct environ_shape *s,
             const struct request *q, size_t *ret_rest)
{
    struct environ_slot *slot = s->slots, *const end = s->slots + s->n;
    size_t rest = 0;

    if ((s->after == NULL || s->after != c->after->callable) &&
        update_after(c, s) < 0) {
        return -1;
    }

    for (size_t i = 0; i < q->params.n; i++) {
        const struct param *p = &q->params.v[i];
        if (p->value == NULL) {
            continue;
        }
        if (slot == end || !same_text(slot->key, p->name, p->name_len)) {
            return 0;
        }
        if (slot_update(slot, s->template, p) < 0) {
            return -1;
        }
        rest += slot->value == Py_None;
        slot++;
    }
    *ret_rest = rest;
    return slot == end;
}

static uint32_t
hash_names(const struct request *q, size_t *ret_n)
{
    uint32_t hash = 0;
    size_t n = 0;

    for (size_t i = 0; i < q->params.n; i++) {
        const struct param *p = &q->params.v[i];
        if (p->value != NULL) {
            hash = hash * 31 + p->hash;
            n++;
        }
    }
    *ret_n = n;
    return hash;
}

/* *ret: the shape of q with its values, from the cache or new; or one that is
 * incomplete, if the result is -1, with an exception. Else the result is 1. */
static int
find_shape(struct environ_cache *c, const struct request *q, unsigned flags,
           struct environ_shape **ret, size_t *ret_rest)
{
    size_t n;
    uint32_t hash = hash_names(q, &n);
    struct environ_shape *s = NULL, *oldest = &c->shapes[0];

    for (size_t i = 0; i < ENVIRON_SHAPES && s == NULL; i++) {
        struct environ_shape *t = &c->shapes[i];
        if (t->template != NULL && t->hash == hash && t->n == n &&
            t->flags == flags) {
            s = t;
        }
        else if (t->last_used < oldest->last_used) {
            oldest = t;
        }
    }
    int r = s == NULL ? 0 : shape_update(c, s, q, ret_rest);
    if (r == 0) {
        s = s == NULL ? oldest : s;
        r = shape_build(s, c, q, hash, n);
        if (r == 0) {
            r = shape_update(c, s, q, ret_rest);
        }
    }
    *ret = s;
    return r;
}

/* A cheap guess whether q has the names of s: their number, and the last one,
 * which is usually a client's. */
static bool
is_likely(const struct environ_shape *s, const struct request *q,
          unsigned flags)
{
    size_t n = q->params.n;

    return s->template != NULL && s->flags == flags && s->nparams == n &&
           n > 0 && s->last_hash == q->params.v[n - 1].hash;
}

/* Most requests have the same names as the one before, so that shape is tried
 * first. */
static struct environ_shape *
get_shape(struct environ_cache *c, const struct request *q, size_t *ret_rest)
{
    unsigned flags = get_flags(q);
    struct environ_shape *s = &c->shapes[c->latest];
    int r = is_likely(s, q, flags) ? shape_update(c, s, q, ret_rest) : 0;

    if (r == 0) {
        r = find_shape(c, q, flags, &s, ret_rest);
    }
    if (r < 0) {
        shape_fini(c, s); /* incomplete: useless for the next request */
        return NULL;
    }
    c->latest = (size_t)(s - c->shapes);
    s->last_used = ++c->clock;
    return s;
}

static int
add_rest(PyObject *dict, const struct environ_shape *s, const struct request *q,
         size_t rest)
{
    const struct environ_slot *slot = s->slots;

    assert(rest <= s->n);
    for (size_t i = 0; rest > 0 && i < q->params.n; i++) {
        const struct param *p = &q->params.v[i];
        if (p->value == NULL) {
            continue;
        }
        if (slot->value == Py_None) {
            CLEANUP(py_clear) PyObject *value = decode(p->value, p->value_len);
            if (value == NULL || PyDict_SetItem(dict, slot->key, value) < 0) {
                return -1;
            }
            rest--;
        }
        slot++;
    }
    return 0;
}

static int
set_request_id(PyObject *dict, const struct environ_cache *c, struct request *q)
{
    const char *id = request_id(q);
    size_t n = strlen(id);
    CLEANUP(py_clear) PyObject *value = PyUnicode_New((Py_ssize_t)n, 127);

    if (value == NULL) {
        return -1;
    }
    assert(PyUnicode_IS_ASCII(value));
    memcpy(PyUnicode_1BYTE_DATA(value), id, n);
    return PyDict_SetItem(dict, c->key_request_id, value);
}

PyObject *
environ_new(struct environ_cache *c, struct request *q, PyObject *input,
            PyObject *data)
{
    size_t rest;

    ASSERT_ATTACHED();
    const struct environ_shape *s = get_shape(c, q, &rest);
    CLEANUP(py_clear)
    PyObject *dict = s == NULL ? NULL : PyDict_Copy(s->template);

    if (dict == NULL || PyDict_SetItem(dict, c->key_input, input) < 0 ||
        set_request_id(dict, c, q) < 0 || add_rest(dict, s, q, rest) < 0 ||
        (data != NULL && PyDict_SetItem(dict, c->key_data, data) < 0)) {
        return NULL;
    }
    return py_steal(&dict);
}
