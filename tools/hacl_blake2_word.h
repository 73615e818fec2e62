/*
 * hacl_blake2_word.h - BLAKE2s or BLAKE2b; hacl_blake2.c includes it for each
 *
 * What:      the macros WORD, ROUNDS, ROTATIONS and IV define which one; OURS, HACL
 *            and SIMD make the names. So there is no include guard.
 * Owner, threads, errors: see hacl_blake2.c.
 */

enum { OURS(BLOCK) = 16 * sizeof(WORD), OURS(BITS) = 8 * sizeof(WORD) };

static const WORD OURS(iv)[8] = {IV};

/* What HACL calls a state. */
struct OURS(state) {
    WORD h[8];
    uint64_t hashed; /* bytes in the blocks that h has, the key's included */
    size_t filled;   /* of block, which waits: the last one is hashed apart */
    uint8_t block[OURS(BLOCK)];
    struct blake2_index index;
};

INLINE WORD
OURS(rotate)(WORD x, unsigned n)
{
    return (WORD)(x >> n | x << (OURS(BITS) - n));
}

INLINE void
OURS(mix)(WORD v[16], unsigned a, unsigned b, unsigned c, unsigned d,
          const WORD m[16], const uint8_t xy[2])
{
    static const uint8_t by[4] = {ROTATIONS};
    v[a] += v[b] + m[xy[0]];
    v[d] = OURS(rotate)(v[d] ^ v[a], by[0]);
    v[c] += v[d];
    v[b] = OURS(rotate)(v[b] ^ v[c], by[1]);
    v[a] += v[b] + m[xy[1]];
    v[d] = OURS(rotate)(v[d] ^ v[a], by[2]);
    v[c] += v[d];
    v[b] = OURS(rotate)(v[b] ^ v[c], by[3]);
}

/* The columns, then the diagonals. */
INLINE void
OURS(round)(WORD v[16], const WORD m[16], const uint8_t order[16])
{
    OURS(mix)(v, 0, 4, 8, 12, m, order);
    OURS(mix)(v, 1, 5, 9, 13, m, order + 2);
    OURS(mix)(v, 2, 6, 10, 14, m, order + 4);
    OURS(mix)(v, 3, 7, 11, 15, m, order + 6);
    OURS(mix)(v, 0, 5, 10, 15, m, order + 8);
    OURS(mix)(v, 1, 6, 11, 12, m, order + 10);
    OURS(mix)(v, 2, 7, 8, 13, m, order + 12);
    OURS(mix)(v, 3, 4, 9, 14, m, order + 14);
}

/* s->hashed has this block already. */
static void
OURS(compress)(struct OURS(state) * s, const uint8_t *block, bool last)
{
    WORD m[16], v[16];
    for (unsigned i = 0; i < 16; i++) {
        m[i] = 0;
        for (unsigned k = 0; k < sizeof(WORD); k++) {
            m[i] |= (WORD)block[i * sizeof(WORD) + k] << (8 * k);
        }
    }
    memcpy(v, s->h, sizeof(s->h));
    memcpy(&v[8], OURS(iv), sizeof(OURS(iv)));
    v[12] ^= (WORD)s->hashed;
    /* The count is of two words: 2^64 bytes are in one of BLAKE2b's. */
    v[13] ^= sizeof(WORD) == 8 ? 0 : (WORD)(s->hashed >> 32);
    v[14] ^= last ? (WORD)-1 : 0;
    v[15] ^= last && s->index.last_node ? (WORD)-1 : 0;
    /* Not a loop: with constant places in m it is twice as fast. */
    OURS(round)(v, m, sigma[0]);
    OURS(round)(v, m, sigma[1]);
    OURS(round)(v, m, sigma[2]);
    OURS(round)(v, m, sigma[3]);
    OURS(round)(v, m, sigma[4]);
    OURS(round)(v, m, sigma[5]);
    OURS(round)(v, m, sigma[6]);
    OURS(round)(v, m, sigma[7]);
    OURS(round)(v, m, sigma[8]);
    OURS(round)(v, m, sigma[9]);
    if (ROUNDS == 12) {
        OURS(round)(v, m, sigma[0]);
        OURS(round)(v, m, sigma[1]);
    }
    for (unsigned i = 0; i < 8; i++) {
        s->h[i] ^= v[i] ^ v[i + 8];
    }
}

uint8_t HACL(update)(struct OURS(state) * s, const uint8_t *data, uint32_t n);
WEAK uint8_t
HACL(update)(struct OURS(state) * s, const uint8_t *data, uint32_t n)
{
    while (n > 0) {
        if (s->filled == OURS(BLOCK)) {
            s->hashed += OURS(BLOCK);
            OURS(compress)(s, s->block, false);
            s->filled = 0;
        }
        size_t room = OURS(BLOCK) - s->filled;
        size_t some = n < room ? n : room;
        memcpy(s->block + s->filled, data, some);
        s->filled += some;
        data += some;
        n -= (uint32_t)some;
    }
    return 0;
}

/* The parameter block is xored into the first h. Its fields are as wide as the
 * words are, so that only node_offset differs: eight bytes or six. */
static void
OURS(set_params)(struct OURS(state) * s, const struct blake2_params *p)
{
    uint8_t b[8 * sizeof(WORD)] = {p->digest_length, p->key_length, p->fanout,
                                   p->depth};
    put_bytes(b + 4, p->leaf_length, 4);
    size_t at = 8 + (sizeof(WORD) == 8 ? 8 : 6);
    put_bytes(b + 8, p->node_offset, at - 8);
    b[at] = p->node_depth;
    b[at + 1] = p->inner_length;
    memcpy(b + 4 * sizeof(WORD), p->salt, 2 * sizeof(WORD));
    memcpy(b + 6 * sizeof(WORD), p->personal, 2 * sizeof(WORD));
    for (unsigned i = 0; i < sizeof(b); i++) {
        unsigned shift = 8 * (i % sizeof(WORD));
        s->h[i / sizeof(WORD)] ^= (WORD)((WORD)b[i] << shift);
    }
}

struct OURS(state) *
    HACL(malloc_with_params_and_key)(const struct blake2_params *p,
                                     bool last_node, const uint8_t *key);
WEAK struct OURS(state) *
    HACL(malloc_with_params_and_key)(const struct blake2_params *p,
                                     bool last_node, const uint8_t *key)
{
    struct OURS(state) *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return NULL;
    }
    s->index = (struct blake2_index){.key_length = p->key_length,
                                     .digest_length = p->digest_length,
                                     .last_node = last_node};
    memcpy(s->h, OURS(iv), sizeof(s->h));
    OURS(set_params)(s, p);
    if (p->key_length > 0) {
        memcpy(s->block, key, p->key_length);
        s->filled = OURS(BLOCK);
    }
    return s;
}

uint8_t HACL(digest)(const struct OURS(state) * s, uint8_t *to);
WEAK uint8_t
HACL(digest)(const struct OURS(state) * s, uint8_t *to)
{
    struct OURS(state) end = *s;
    memset(end.block + end.filled, 0, OURS(BLOCK) - end.filled);
    end.hashed += end.filled;
    OURS(compress)(&end, end.block, true);
    for (unsigned i = 0; i < s->index.digest_length; i++) {
        WORD word = end.h[i / sizeof(WORD)];
        to[i] = (uint8_t)(word >> (8 * (i % sizeof(WORD))));
    }
    return s->index.digest_length;
}

struct blake2_index HACL(info)(const struct OURS(state) * s);
WEAK struct blake2_index
HACL(info)(const struct OURS(state) * s)
{
    return s->index;
}

struct OURS(state) * HACL(copy)(const struct OURS(state) * s);
WEAK struct OURS(state) * HACL(copy)(const struct OURS(state) * s)
{
    struct OURS(state) *other = malloc(sizeof(*other));
    if (other != NULL) {
        *other = *s;
    }
    return other;
}

void HACL(free)(struct OURS(state) * s);
WEAK void
HACL(free)(struct OURS(state) * s)
{
    free(s);
}

/* --- the same by the names of the functions for SSE and AVX2 ---------------- */

struct OURS(state) *
    SIMD(malloc_with_params_and_key)(const struct blake2_params *p,
                                     bool last_node, const uint8_t *key);
WEAK struct OURS(state) *
    SIMD(malloc_with_params_and_key)(const struct blake2_params *p,
                                     bool last_node, const uint8_t *key)
{
    return HACL(malloc_with_params_and_key)(p, last_node, key);
}

uint8_t SIMD(update)(struct OURS(state) * s, const uint8_t *data, uint32_t n);
WEAK uint8_t
SIMD(update)(struct OURS(state) * s, const uint8_t *data, uint32_t n)
{
    return HACL(update)(s, data, n);
}

uint8_t SIMD(digest)(const struct OURS(state) * s, uint8_t *to);
WEAK uint8_t
SIMD(digest)(const struct OURS(state) * s, uint8_t *to)
{
    return HACL(digest)(s, to);
}

struct blake2_index SIMD(info)(const struct OURS(state) * s);
WEAK struct blake2_index
SIMD(info)(const struct OURS(state) * s)
{
    return HACL(info)(s);
}

struct OURS(state) * SIMD(copy)(const struct OURS(state) * s);
WEAK struct OURS(state) * SIMD(copy)(const struct OURS(state) * s)
{
    return HACL(copy)(s);
}

void SIMD(free)(struct OURS(state) * s);
WEAK void
SIMD(free)(struct OURS(state) * s)
{
    HACL(free)(s);
}
