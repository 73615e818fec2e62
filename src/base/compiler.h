/*
 * compiler.h - the compiler attributes the whole tree uses
 *
 * What:      short names for GNU C attributes, so that headers stay readable.
 * Errors:    none.                                               Blocks: never.
 */
#ifndef BASE_COMPILER_H
#define BASE_COMPILER_H

#define CHECK_RESULT __attribute__((warn_unused_result))
#define PRINTF_LIKE(FMT, ARGS) __attribute__((format(printf, FMT, ARGS)))
#define UNUSED __attribute__((unused))
/* For what the compiler is to work out where a caller's words are constant. */
#define ALWAYS_INLINE __attribute__((always_inline)) static inline

/* CLEANUP(fn) T *x = ...: fn(&x) runs when x goes out of scope. */
#define CLEANUP(FN) __attribute__((cleanup(FN)))

#define ARRAY_SIZE(A) (sizeof(A) / sizeof((A)[0]))

/* Built with AddressSanitizer (gcc says it so, clang so). */
#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif
#ifndef HAS_ASAN
#define HAS_ASAN 0
#endif

#endif
