/*
 * hash.h - a keyed hash, for tables whose names come from clients
 *
 * What:      a hash of 32 bits. The keys are random and differ in each process,
 *            so nobody can choose names that collide: two strings have the same
 *            value, or the same low bits of it, only by chance. A value is
 *            valid in this process and in the processes that it forks.
 * Owner:     the process.
 * Lifetime:  the keys are drawn before main() and never change.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none.                                               Blocks: never.
 * Standards: multilinear hashing (Carter and Wegman, 1979): the sum of each
 *            piece times its key; the upper half of the sum is strongly
 *            universal.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/bytes.h"
#include "base/compiler.h"

#include <stddef.h>
#include <stdint.h>

/* Longer strings take a second step; most names are shorter. */
enum { HASH_SHORT = 32 };

struct hash_keys {
    uint64_t length[HASH_SHORT + 2]; /* by length; the last: longer */
    uint64_t piece[HASH_SHORT / 4];  /* by position, four bytes each */
};

extern struct hash_keys hash_keys;

/* Draws new keys. It runs before main(), and in tests while no table is
 * used.  */
void hash_draw_keys(void);

/* hash_bytes() for n > HASH_SHORT. */
uint32_t hash_long(const char *s, size_t n);

/* Adds up the two pieces in the eight bytes at s, times their keys. */
ALWAYS_INLINE uint64_t
hash_word(const char *s, const uint64_t *key)
{
    uint64_t w = bytes_word(s, 8);

    return (uint32_t)w * key[0] + (w >> 32) * key[1];
}

/* It has no loop: for a name that is a constant the compiler needs one
 * multiplication for each four bytes. Pieces overlap where n is not a multiple
 * of their size. */
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
