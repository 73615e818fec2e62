/*
 * json.c - text as a JSON string
 */
#include "text/json.h"

#include "text/num.h"
#include "text/utf8.h"

#include <assert.h>
#include <stdbool.h>

/* Returns the length of the character at s; 0: it is not UTF-8. *ret_plain: it
 * needs no escape in a string. */
static size_t
look(const char *s, size_t n, bool *ret_plain)
{
    unsigned char c = (unsigned char)s[0];

    if (c < 0x80) {
        *ret_plain = c >= 0x20 && c != 0x7f && c != '"' && c != '\\';
        return 1;
    }
    size_t len = utf8_char(s, n);
    *ret_plain = len > 0 && !(c == 0xc2 && (unsigned char)s[1] < 0xa0);
    return len;
}

static int
add_special(struct buf *b, const char *s, size_t len)
{
    unsigned char c = (unsigned char)s[0];

    if (len == 0) {
        return buf_add_str(b, "\\ufffd");
    }
    if (c == '"' || c == '\\') {
        const char pair[] = {'\\', (char)c};
        return buf_add(b, pair, sizeof pair);
    }
    if (c == '\n' || c == '\t') {
        return buf_add_str(b, c == '\n' ? "\\n" : "\\t");
    }
    /* The second byte of a C1 control character is its number. */
    assert(len == 1 || (len == 2 && c == 0xc2));
    return buf_printf(b, "\\u%04x", len == 2 ? (unsigned char)s[1] : c);
}

int
json_add(struct buf *b, const char *text, size_t n)
{
    int e = buf_add(b, "\"", 1);
    size_t from = 0; /* start of the plain text that is not added yet */

    for (size_t i = 0; e == 0 && i < n;) {
        bool plain;
        size_t len = look(text + i, n - i, &plain);
        if (plain) {
            i += len;
            continue;
        }
        e = buf_add(b, text + from, i - from);
        if (e == 0) {
            e = add_special(b, text + i, len);
        }
        i += len == 0 ? 1 : len;
        from = i;
    }
    if (e == 0) {
        e = buf_add(b, text + from, n - from);
    }
    return e == 0 ? buf_add(b, "\"", 1) : e;
}

static int
add_name(struct buf *b, const char *name)
{
    int e = buf_add(b, ",\"", 2);

    if (e == 0) {
        e = buf_add_str(b, name);
    }
    return e == 0 ? buf_add(b, "\":", 2) : e;
}

int
json_add_member(struct buf *b, const char *name, const char *text, size_t n)
{
    if (text == NULL) {
        return 0;
    }
    int e = add_name(b, name);
    return e == 0 ? json_add(b, text, n) : e;
}

int
json_add_number(struct buf *b, const char *name, uint64_t value)
{
    char room[NUM_TEXT_SIZE];
    size_t n;
    const char *text = num_text(value, room, &n);
    int e = add_name(b, name);

    return e == 0 ? buf_add(b, text, n) : e;
}
