/*
 * compiler.h - compiler attributes and macros for the whole tree
 *
 * What:      short names for GNU C attributes, which keep headers readable.
 * Errors:    none.                                               Blocks: never.
 */
#ifndef BASE_COMPILER_H
#define BASE_COMPILER_H

#define CHECK_RESULT __attribute__((warn_unused_result))
#define PRINTF_LIKE(FMT, ARGS) __attribute__((format(printf, FMT, ARGS)))
#define UNUSED __attribute__((unused))
/* For functions that the compiler can compute where the arguments are
 * constants. */
#define ALWAYS_INLINE __attribute__((always_inline)) static inline

/* CLEANUP(fn) T *x = ...: fn(&x) runs when x goes out of scope. */
#define CLEANUP(FN) __attribute__((cleanup(FN)))

#define ARRAY_SIZE(A) (sizeof(A) / sizeof((A)[0]))

/* Built with AddressSanitizer: gcc and clang say it in different ways. */
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

/* Built with ThreadSanitizer, the same way. */
#if defined(__SANITIZE_THREAD__)
#define HAS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAS_TSAN 1
#endif
#endif
#ifndef HAS_TSAN
#define HAS_TSAN 0
#endif

/* Around a call that orders memory in a way ThreadSanitizer does not know. */
#if HAS_TSAN
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
#define TSAN_IGNORE_READS_BEGIN() AnnotateIgnoreReadsBegin(__FILE__, __LINE__)
#define TSAN_IGNORE_READS_END() AnnotateIgnoreReadsEnd(__FILE__, __LINE__)
#else
#define TSAN_IGNORE_READS_BEGIN() ((void)0)
#define TSAN_IGNORE_READS_END() ((void)0)
#endif

#endif
