/*
 * hash.c - a keyed hash, for tables whose names come from clients
 */
#include "base/hash.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <unistd.h>

struct hash_keys hash_keys;

/* For early boot, and for sandboxes that refuse getrandom(): makes the keys
 * from the 16 random bytes that the kernel gives to each process, the time and
 * the process ID. */
static void
derive_keys(void)
{
    uint64_t *key = (void *)&hash_keys;
    const void *given = (const void *)getauxval(AT_RANDOM);
    uint64_t seed[2] = {0, 0};

    if (given != NULL) {
        memcpy(seed, given, sizeof seed);
    }
    uint64_t x = seed[0] ^ (uint64_t)clock_us() ^ (uint64_t)getpid() << 40;
    for (size_t i = 0; i < sizeof hash_keys / sizeof *key;
         i++) { /* SplitMix64 */
        x += 0x9e3779b97f4a7c15u;
        uint64_t z = x ^ seed[1];
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        key[i] = z ^ z >> 31;
    }
}

/* Runs before main(), and so before any table is filled: with other keys its
 * entries would not be found. */
__attribute__((constructor)) void
hash_draw_keys(void)
{
    char *to = (char *)&hash_keys;
    size_t have = 0;

    while (have < sizeof hash_keys) {
        ssize_t n =
            getrandom(to + have, sizeof hash_keys - have, GRND_NONBLOCK);
        if (n < 0 && errno != EINTR) {
            derive_keys();
            return;
        }
        have += n > 0 ? (size_t)n : 0;
    }
}

/* Evaluates the polynomial whose coefficients are the pieces at a secret point:
 * two strings of n bytes have the same value at n/4 of four billion points at
 * most. The value is then hashed as one piece. */
uint32_t
hash_long(const char *s, size_t n)
{
    const uint64_t prime = 4294967291u; /* < 2^32: products fit in 64 bits */
    uint64_t at = hash_keys.piece[1] % prime;
    uint64_t h = n % prime;

    assert(n > HASH_SHORT);
    for (; n > 4; n -= 4, s += 4) {
        h = (h * at + bytes_word(s, 4)) % prime;
    }
    h = (h * at + bytes_word(s + n - 4, 4)) % prime;
    h = h * hash_keys.piece[0] + hash_keys.length[HASH_SHORT + 1];
    return (uint32_t)(h >> 32);
}
