/*
 * test_hacl_blake2.c - tools/hacl_blake2.c, which stands in for what the
 *                      libpython3.14.a of Debian lacks: known answers of
 *                      RFC 7693 and of another implementation
 */
#include "unit.h"

#include "../../tools/hacl_blake2.c"

#include "base/compiler.h"

#define FN_B(NAME) _Py_LibHacl_Hacl_Hash_Blake2b_##NAME
#define FN_B_SIMD(NAME) _Py_LibHacl_Hacl_Hash_Blake2b_Simd256_##NAME
#define FN_S(NAME) _Py_LibHacl_Hacl_Hash_Blake2s_##NAME
#define FN_S_SIMD(NAME) _Py_LibHacl_Hacl_Hash_Blake2s_Simd128_##NAME

/* What is hashed in one go: data in pieces of at most step bytes. In between a
 * copy is taken, which must not see what the first is given, and a digest. */
struct input {
    struct blake2_params params;
    bool last_node;
    const uint8_t *key;
    const uint8_t *data;
    uint32_t n, step;
};

#define DEFINE_HASH(NAME, STATE, FN)                                           \
    static void NAME(const struct input *in, uint8_t *to)                      \
    {                                                                          \
        struct STATE *s = FN(malloc_with_params_and_key)(                      \
            &in->params, in->last_node, in->key);                              \
        assert_non_null(s);                                                    \
        for (uint32_t at = 0, n; at < in->n; at += n) {                        \
            n = in->n - at < in->step ? in->n - at : in->step;                 \
            struct STATE *other = FN(copy)(s);                                 \
            assert_non_null(other);                                            \
            assert_int_equal(FN(update)(s, (const uint8_t *)"wrong", 5), 0);   \
            FN(free)(s);                                                       \
            s = other;                                                         \
            assert_int_equal(FN(digest)(s, to), in->params.digest_length);     \
            assert_int_equal(FN(update)(s, in->data + at, n), 0);              \
        }                                                                      \
        assert_int_equal(FN(digest)(s, to), in->params.digest_length);         \
        assert_int_equal(FN(info)(s).digest_length, in->params.digest_length); \
        assert_int_equal(FN(info)(s).key_length, in->params.key_length);       \
        assert_int_equal(FN(info)(s).last_node, in->last_node);                \
        FN(free)(s);                                                           \
    }

DEFINE_HASH(hash_b, blake2b_state, FN_B)
DEFINE_HASH(hash_b_simd, blake2b_state, FN_B_SIMD)
DEFINE_HASH(hash_s, blake2s_state, FN_S)
DEFINE_HASH(hash_s_simd, blake2s_state, FN_S_SIMD)

static const struct {
    void (*hash)(const struct input *in, uint8_t *to);
    bool is_b;
} kinds[] = {
    {hash_b, true}, {hash_b_simd, true}, {hash_s, false}, {hash_s_simd, false}};

static void
assert_hex(const uint8_t *digest, const char *expected)
{
    char hex[129] = "";
    size_t n = strlen(expected) / 2;
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
    assert_string_equal(hex, expected);
}

static uint8_t nothing[16];

static struct input
plain(uint8_t digest_length, const void *data, uint32_t n)
{
    return (struct input){.params = {.digest_length = digest_length,
                                     .fanout = 1,
                                     .depth = 1,
                                     .salt = nothing,
                                     .personal = nothing},
                          .data = data,
                          .n = n,
                          .step = UINT32_MAX};
}

/* RFC 7693, appendices A and B. */
static void
test_abc(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        uint8_t digest[64];
        struct input in = plain(kinds[i].is_b ? 64 : 32, "abc", 3);
        kinds[i].hash(&in, digest);
        assert_hex(digest, kinds[i].is_b ? "ba80a53f981c4d0d6a2797b69f12f6e9"
                                           "4c212f14685ac4b74b12bb6fdbffa2d1"
                                           "7d87c5392aab792dc252d5de4533cc95"
                                           "18d38aa8dbf1925ab92386edd4009923"
                                         : "508c5e8c327c14e2e1a72ba34eeb452f"
                                           "37458b209ed63a294d999b4c86675982");
    }
}

/* The bytes of RFC 7693's self-test. */
static void
sequence(uint8_t *to, uint32_t n)
{
    uint32_t a = 0xdead4bad * n, b = 1;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t sum = a + b;
        a = b;
        b = sum;
        to[i] = (uint8_t)(sum >> 24);
    }
}

/* The hash of all digests of RFC 7693's self-test, appendix E: of all lengths
 * around a block, with and without a key. */
static void
self_test(size_t kind, uint32_t step, uint8_t *to)
{
    static const uint8_t outs_b[] = {20, 32, 48, 64};
    static const uint8_t outs_s[] = {16, 20, 28, 32};
    static const uint32_t ins_b[] = {0, 3, 128, 129, 255, 1024};
    static const uint32_t ins_s[] = {0, 3, 64, 65, 255, 1024};
    bool is_b = kinds[kind].is_b;
    uint8_t all[48 * 64], data[1024], key[64];
    uint32_t n = 0;
    for (size_t o = 0; o < 4; o++) {
        uint8_t out = (is_b ? outs_b : outs_s)[o];
        for (size_t i = 0; i < 6; i++) {
            uint32_t size = (is_b ? ins_b : ins_s)[i];
            sequence(data, size);
            sequence(key, out);
            struct input in = plain(out, data, size);
            in.step = step;
            kinds[kind].hash(&in, all + n);
            in.key = key;
            in.params.key_length = out;
            kinds[kind].hash(&in, all + n + out);
            n += 2 * out;
        }
    }
    struct input in = plain(32, all, n);
    kinds[kind].hash(&in, to);
}

static void
test_lengths_and_keys(void **state UNUSED)
{
    static const uint32_t steps[] = {UINT32_MAX, 1, 7, 63, 64, 65, 127, 128};
    for (size_t kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
            uint8_t digest[32];
            self_test(kind, steps[i], digest);
            assert_hex(digest, kinds[kind].is_b
                                   ? "c23a7800d98123bd10f506c61e29da56"
                                     "03d763b8bbad2e737f5e765a7bccd475"
                                   : "6a411f08ce25adcdfb02aba641451cec"
                                     "53c598b24f4fc787fbdc88797f4c1dfe");
        }
    }
}

/* All parameters, each with a value of its own; answers of Python 3.11. */
static void
test_parameters(void **state UNUSED)
{
    uint8_t data[300], key[64], salt_b[17] = "salt of 16 bytes";
    uint8_t salt_s[9] = "8 bytes!", person[16] = "person";
    memset(data, 'x', sizeof(data));
    memset(key, 'k', sizeof(key));
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        bool is_b = kinds[i].is_b;
        uint8_t digest[64];
        struct input in = plain(is_b ? 47 : 27, data, sizeof(data));
        in.key = key;
        in.last_node = true;
        in.params = (struct blake2_params){
            .digest_length = in.params.digest_length,
            .key_length = is_b ? 33 : 13,
            .fanout = 3,
            .depth = 5,
            .leaf_length = 0x01020304,
            .node_offset = is_b ? 0x1122334455667788 : 0x112233445566,
            .node_depth = 7,
            .inner_length = 21,
            .salt = is_b ? salt_b : salt_s,
            .personal = person};
        kinds[i].hash(&in, digest);
        assert_hex(digest, is_b ? "004cc5800faf6768b04de8828b290050"
                                  "d27c3455dba76c9b77ab068008d7a7b7"
                                  "ebc10e25f768bb037c2cca574d9045"
                                : "64482c4b2e5ab9fe27dd9f518f1bfe84"
                                  "680a3c85491c9419e3191e");
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_abc),
        cmocka_unit_test(test_lengths_and_keys),
        cmocka_unit_test(test_parameters),
    };
    return cmocka_run_group_tests_name("hacl_blake2", tests, NULL, NULL);
}
