/*
 * prefault.c - memory that is there before it is touched
 */
#include "wsgi/prefault.h"

#include "base/compiler.h"
#include "config.h"
#include "wsgi/python.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define CHUNK (8 * HUGE_PAGE) /* of addresses; memory as it is touched */

/* Room that starts at a huge page. NULL: there is none, or pages have another
 * size here, and the huge ones are huge indeed. */
static char *
map_huge(size_t size)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

    if (sysconf(_SC_PAGESIZE) != 4096) {
        return NULL;
    }
    char *p =
        mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    p += -(uintptr_t)p & (HUGE_PAGE - 1);
    (void)madvise(p, size, MADV_HUGEPAGE);
    return p;
}

/* -- the program's data ----------------------------------------------------- */

/* AddressSanitizer has objects of its own between ours, not to be read. */
#if WSGI_CGI_LINK_STATIC && !HAS_ASAN
/* Given by the linker.
 * NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
extern char __data_start[], edata[];

/* A copy in a huge page takes the place of the data, in one step of the kernel:
 * at no moment is anything else there. False: nothing has changed. */
static bool
move_data(char *from, size_t size)
{
    char *to = size <= HUGE_PAGE ? map_huge(HUGE_PAGE) : NULL;

    if (to == NULL) {
        return false;
    }
    memcpy(to, from, size);
    return mremap(to, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, from) !=
           MAP_FAILED;
}

void
prefault_data(bool is_for_one_request)
{
#ifndef MADV_POPULATE_WRITE
    enum { MADV_POPULATE_WRITE = 23 }; /* Linux 5.14 */
#endif
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
    char *from = __data_start - ((uintptr_t)__data_start & page);
    char *to = edata + (-(uintptr_t)edata & page);
    size_t size = (size_t)(to - from);

    if (is_for_one_request && move_data(from, size)) {
        return;
    }
    /* An older kernel says EINVAL, and the pages fault in one by one. */
    (void)madvise(from, size, MADV_POPULATE_WRITE);
}
#else
void
prefault_data(UNUSED bool is_for_one_request)
{
}
#endif

/* -- arenas ------------------------------------------------------------------- */

/* All have the size of the first. */
static struct {
    pthread_mutex_t lock; /* interpreters with a GIL of their own share us */
    size_t size;
    char *next, *end; /* what is left of a chunk */
    struct free_arena {
        struct free_arena *next;
    } * given_back;
} arenas = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *
map_small(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static void *
cut_from_chunk(size_t size)
{
    if ((size_t)(arenas.end - arenas.next) < size) {
        char *chunk = map_huge(CHUNK);
        if (chunk == NULL) {
            return map_small(size); /* a limit on addresses */
        }
        arenas.next = chunk;
        arenas.end = chunk + CHUNK;
    }
    arenas.next += size;
    return arenas.next - size;
}

static void *
arena_alloc(UNUSED void *ctx, size_t size)
{
    void *p = NULL;

    (void)pthread_mutex_lock(&arenas.lock);
    arenas.size = arenas.size == 0 ? size : arenas.size;
    if (size != arenas.size) {
        p = map_small(size);
    }
    else if (arenas.given_back != NULL) {
        p = arenas.given_back;
        arenas.given_back = arenas.given_back->next;
    }
    else {
        p = cut_from_chunk(size);
    }
    (void)pthread_mutex_unlock(&arenas.lock);
    return p;
}

static void
arena_free(UNUSED void *ctx, void *p, size_t size)
{
    struct free_arena *a = p;

    (void)pthread_mutex_lock(&arenas.lock);
    if (size != arenas.size) {
        (void)munmap(p, size);
    }
    else {
        a->next = arenas.given_back;
        arenas.given_back = a;
    }
    (void)pthread_mutex_unlock(&arenas.lock);
}

void
prefault_arenas(void)
{
    PyObjectArenaAllocator a = {NULL, arena_alloc, arena_free};

    PyObject_SetArenaAllocator(&a);
}
