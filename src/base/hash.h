/*
 * hash.h - a keyed hash of byte strings, for tables whose keys strangers choose
 *
 * What:      32 bits. Two different strings have the same value, or the same low
 *            bits of it, only by chance, whatever they are: the keys are random and
 *            of this process. So nobody can choose names that collide. Values
 *            mean nothing in another process, except a forked one.
 * Owner:     the process.
 * Lifetime:  the keys are drawn before main() and stay.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none.                                               Blocks: never.
 * Standards: multilinear hashing (Carter and Wegman, 1979): piece by key, summed
 *            up; the upper half of the sum is strongly universal.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/bytes.h"
#include "base/compiler.h"

#include <stddef.h>
#include <stdint.h>

/* Names are short. Longer strings take a second step. */
enum { HASH_SHORT = 32 };

struct hash_keys {
    uint64_t length[HASH_SHORT + 2]; /* by the length; the last is "longer" */
    uint64_t piece[HASH_SHORT / 4];  /* by the place of four bytes */
};

extern struct hash_keys hash_keys;

/* Draws them. Before main(); again only in tests, while no table is in use. */
void hash_draw_keys(void);

/* Of n > HASH_SHORT bytes. */
uint32_t hash_long(const char *s, size_t n);

/* The eight bytes at s by two keys. */
ALWAYS_INLINE uint64_t
hash_word(const char *s, const uint64_t *key)
{
    uint64_t w = bytes_word(s, 8);

    return (uint32_t)w * key[0] + (w >> 32) * key[1];
}

/* Without a loop: a name that is known to the compiler costs a multiplication by
 * a constant for four of its bytes. The pieces overlap where the bytes are no whole
 * number of them. */
ALWAYS_INLINE uint32_t
hash_bytes(const char *s, size_t n)
{
    const struct hash_keys *k = &hash_keys;
    uint64_t h;

    if (n > HASH_SHORT) {
        return hash_long(s, n);
    }
    h = k->length[n];
    if (n >= 8) {
        h += hash_word(s + (n - 8), k->piece);
        if (n > 8) {
            h += hash_word(s, k->piece + 2);
        }
        if (n > 16) {
            h += hash_word(s + (n - 16), k->piece + 4);
        }
        if (n > 24) {
            h += hash_word(s + (n - 24), k->piece + 6);
        }
    }
    else if (n >= 4) {
        h += bytes_word(s, 4) * k->piece[0] +
             bytes_word(s + (n - 4), 4) * k->piece[1];
    }
    else if (n > 0) {
        uint32_t w = (uint32_t)(unsigned char)s[0] << 16 |
                     (uint32_t)(unsigned char)s[n / 2] << 8 |
                     (unsigned char)s[n - 1];
        h += w * k->piece[0];
    }
    return (uint32_t)(h >> 32);
}

#endif
