/*
 * hacl_blake2.c - BLAKE2 for a libpythonX.Y.a that lacks its own
 *
 * What:      the functions that Python 3.14's blake2module.o calls, under the
 *            names that it uses. Debian's archive has no BLAKE2 objects of HACL,
 *            so nothing could be linked with it. The functions for SSE and AVX2
 *            call the scalar ones. All are weak, so those of an archive come
 *            first. tools/python-probe compiles this file where it is needed, and
 *            uses it only if the digests are correct.
 * Owner:     the caller owns a state, from malloc or copy to free. The structs of
 *            the caller have the layout of CPython's.
 * Threads:   any, one at a time per state.                   GIL: not used.
 * Errors:    NULL where memory is short.                     Blocks: never.
 * Standards: RFC 7693.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WEAK __attribute__((weak, visibility("hidden")))
#define INLINE __attribute__((always_inline)) static inline

struct blake2_params {
    uint8_t digest_length;
    uint8_t key_length;
    uint8_t fanout;
    uint8_t depth;
    uint32_t leaf_length;
    uint64_t node_offset;
    uint8_t node_depth;
    uint8_t inner_length;
    uint8_t *salt;
    uint8_t *personal;
};

struct blake2_index {
    uint8_t key_length;
    uint8_t digest_length;
    bool last_node;
};

/* Of each round, which word of the block goes where. BLAKE2s has ten rounds;
 * BLAKE2b's eleventh and twelfth are the first two again. */
static const uint8_t sigma[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static void
put_bytes(uint8_t *to, uint64_t value, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = (uint8_t)(value >> (8 * i));
    }
}

#define WORD uint64_t
#define ROUNDS 12
#define ROTATIONS 32, 24, 16, 63
#define IV                                                          \
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b,     \
        0xa54ff53a5f1d36f1, 0x510e527fade682d1, 0x9b05688c2b3e6c1f, \
        0x1f83d9abfb41bd6b, 0x5be0cd19137e2179
#define OURS(NAME) blake2b_##NAME
#define HACL(NAME) _Py_LibHacl_Hacl_Hash_Blake2b_##NAME
#define SIMD(NAME) _Py_LibHacl_Hacl_Hash_Blake2b_Simd256_##NAME
#include "hacl_blake2_word.h"
#undef WORD
#undef ROUNDS
#undef ROTATIONS
#undef IV
#undef OURS
#undef HACL
#undef SIMD

#define WORD uint32_t
#define ROUNDS 10
#define ROTATIONS 16, 12, 8, 7
#define IV                                                                  \
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, \
        0x1f83d9ab, 0x5be0cd19
#define OURS(NAME) blake2s_##NAME
#define HACL(NAME) _Py_LibHacl_Hacl_Hash_Blake2s_##NAME
#define SIMD(NAME) _Py_LibHacl_Hacl_Hash_Blake2s_Simd128_##NAME
#include "hacl_blake2_word.h"
