/*
 * prefault.c - memory that is mapped before it is touched
 */
#include "python/prefault.h"

#include "base/compiler.h"
#include "config.h"
#include "python/python.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
enum { MADV_POPULATE_WRITE = 23 }; /* Linux 5.14; before: EINVAL */
#endif

#define HUGE_PAGE ((size_t)2 << 20)
/* address space; memory is used as it is touched */
#define CHUNK (2 * HUGE_PAGE)

/* Neither this nor map_huge() is used with a free-threaded Python and a shared
 * libpython. False if pages are not 4 KiB, since huge pages are then far larger than 2
 * MiB, and if the address space or the data is limited. */
UNUSED static bool
may_be_huge(void)
{
    struct rlimit addresses, data;

    return sysconf(_SC_PAGESIZE) == 4096 &&
           getrlimit(RLIMIT_AS, &addresses) == 0 &&
           addresses.rlim_cur == RLIM_INFINITY &&
           getrlimit(RLIMIT_DATA, &data) == 0 && data.rlim_cur == RLIM_INFINITY;
}

/* Maps address space that starts at a huge page. NULL if there is none. */
UNUSED static char *
map_huge(size_t size)
{
    char *p = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED) {
        return NULL;
    }
    assert(size % (size_t)sysconf(_SC_PAGESIZE) == 0);
    size_t before = -(uintptr_t)p & (HUGE_PAGE - 1);
    if (before > 0) {
        (void)munmap(p, before);
    }
    (void)munmap(p + before + size, HUGE_PAGE - before);
    (void)madvise(p + before, size, MADV_HUGEPAGE);
    return p + before;
}

/* -- the program's data ---------------------------------------------------- */

/* AddressSanitizer keeps redzones between our objects, which must not be
 * read. */
#if WSGI_CGI_LINK_STATIC && !HAS_ASAN
/* Defined by the linker.
 * NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
extern char __data_start[], edata[];

/* Replaces the data by a copy in part of a huge page, in one system call.
 * False: nothing has changed. (A kernel without memory for a page table might
 * fail half way, which would end the process; but it has only just started.) */
static bool
move_data(char *from, size_t size)
{
    char *to = size <= HUGE_PAGE && may_be_huge() ? map_huge(HUGE_PAGE) : NULL;

    if (to == NULL) {
        return false;
    }
    /* Without huge pages this maps all the small ones in one call. */
    (void)madvise(to, size, MADV_POPULATE_WRITE);
    memcpy(to, from, size);
    bool moved = mremap(to, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, from) !=
                 MAP_FAILED;
    (void)munmap(moved ? to + size : to, moved ? HUGE_PAGE - size : HUGE_PAGE);
    return moved;
}

static void
map_data(bool is_for_one_request)
{
    static bool is_mapped;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
    char *from = __data_start - ((uintptr_t)__data_start & page);
    char *to = edata + (-(uintptr_t)edata & page);
    size_t size = (size_t)(to - from);

    if (!is_mapped && (!is_for_one_request || !move_data(from, size))) {
        (void)madvise(from, size, MADV_POPULATE_WRITE);
    }
    is_mapped = true;
}
#else
static void
map_data(UNUSED bool is_for_one_request)
{
}
#endif

void
prefault_data(void)
{
    map_data(false);
}

/* -- arenas ---------------------------------------------------------------- */

#ifdef Py_GIL_DISABLED
/* Its objects are mimalloc's, which maps its own memory. Only the stacks of its
 * frames would come from arenas, which are not worth a huge page. */
static void
set_arenas(void)
{
}
#else
/* Memory for Python's arenas, under lock. All arenas that come from chunks have
 * the size of the first one; Python also asks for other sizes, for the stacks
 * of its frames. */
static struct {
    pthread_mutex_t lock; /* interpreters with a GIL of their own share it */
    size_t size;
    char *next, *end; /* the unused rest of the last chunk */
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
            return map_small(size);
        }
        arenas.next = chunk;
        arenas.end = chunk + CHUNK;
    }
    assert((size_t)(arenas.end - arenas.next) >= size);
    arenas.next += size;
    return arenas.next - size;
}

static void *
arena_alloc(UNUSED void *ctx, size_t size)
{
    void *p = NULL;

    (void)pthread_mutex_lock(&arenas.lock);
    arenas.size = arenas.size == 0 ? size : arenas.size;
    if (size != arenas.size || size > CHUNK) {
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
    if (size != arenas.size || size > CHUNK) {
        (void)munmap(p, size);
    }
    else {
        assert(size >= sizeof(*a));
        a->next = arenas.given_back;
        arenas.given_back = a;
    }
    (void)pthread_mutex_unlock(&arenas.lock);
}

static void
lock_arenas(void)
{
    (void)pthread_mutex_lock(&arenas.lock);
}

static void
unlock_arenas(void)
{
    (void)pthread_mutex_unlock(&arenas.lock);
}

static void
set_arenas(void)
{
    PyObjectArenaAllocator a = {NULL, arena_alloc, arena_free};

    /* Without these handlers a fork while another thread holds the lock would
     * leave it locked in the child. */
    if (may_be_huge() &&
        pthread_atfork(lock_arenas, unlock_arenas, unlock_arenas) == 0) {
        PyObject_SetArenaAllocator(&a);
    }
}
#endif

void
prefault_for_one_request(void)
{
    map_data(true);
    set_arenas();
}

/* -- malloc() -------------------------------------------------------------- */

/* The C library raises both limits when a block that has a mapping of its own
 * is freed, and goes on adapting them; mallopt() would turn that off. */
void
prefault_heap(void)
{
    void *volatile p = malloc((size_t)1 << 20);

    free(p);
}
