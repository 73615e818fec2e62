/*
 * test_spool.c - transport/spool: in memory up to the bound, then in a file that
 *                nobody can see, in order, and gone at the end
 */
#include "unit.h"

#include "transport/spool.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/stat.h>

static char folder[] = "/tmp/wsgi-cgi-unit.XXXXXX";

static int
set_up(void **state UNUSED)
{
    return mkdtemp(folder) == NULL ? -1 : setenv("TMPDIR", folder, 1);
}

static int
tear_down(void **state UNUSED)
{
    (void)unsetenv("TMPDIR");
    return rmdir(folder); /* fails where a test left a file behind */
}

/* Byte number i of the test stream: no period that a buffer could have. */
static char
stream_byte(uint64_t i)
{
    return (char)(i * 31 + i / 251 + i / 65521);
}

static void
put(struct spool *s, uint64_t *at, size_t n)
{
    char *bytes = malloc(n + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++) {
        bytes[i] = stream_byte(*at + i);
    }
    assert_int_equal(spool_write(s, bytes, n), 0);
    *at += n;
    free(bytes);
}

/* Reads n bytes in pieces of at most piece and compares them. */
static void
take(struct spool *s, uint64_t *at, size_t n, size_t piece)
{
    char *bytes = malloc(piece);
    assert_non_null(bytes);
    while (n > 0) {
        size_t want = n < piece ? n : piece;
        ssize_t got = spool_read(s, bytes, want);
        assert_true(got > 0 && (size_t)got <= want);
        for (ssize_t i = 0; i < got; i++) {
            if (bytes[i] != stream_byte(*at + (uint64_t)i)) {
                fail_msg("byte %llu is wrong",
                         (unsigned long long)(*at + (uint64_t)i));
            }
        }
        *at += (uint64_t)got;
        n -= (size_t)got;
    }
    free(bytes);
}

static void
expect_empty(struct spool *s)
{
    char c;
    assert_int_equal(spool_size(s), 0);
    assert_int_equal(spool_read(s, &c, 1), 0);
    assert_int_equal(spool_read(s, &c, 1), 0);
}

static void
test_empty(void **state UNUSED)
{
    struct spool s;
    spool_init(&s);
    expect_empty(&s);
    assert_int_equal(spool_write(&s, NULL, 0), 0);
    expect_empty(&s);
    assert_null(s.mem.data);
    assert_int_equal(s.fd, -1);
    spool_fini(&s);
    spool_fini(&s);
}

static void
test_around_the_bound_of_memory(void **state UNUSED)
{
    for (size_t n = SPOOL_MEMORY - 1; n <= SPOOL_MEMORY + 1; n++) {
        struct spool s;
        uint64_t in = 0;
        uint64_t out = 0;
        spool_init(&s);
        put(&s, &in, SPOOL_MEMORY - 1);
        put(&s, &in, n - (SPOOL_MEMORY - 1));
        assert_int_equal(spool_size(&s), n);
        assert_true((s.fd >= 0) == (n > SPOOL_MEMORY));
        assert_true(s.mem.cap <= SPOOL_MEMORY);
        take(&s, &out, n, 5000);
        expect_empty(&s);
        spool_fini(&s);
    }
}

static void
test_one_block_larger_than_memory(void **state UNUSED)
{
    struct spool s;
    uint64_t in = 0;
    uint64_t out = 0;
    spool_init(&s);
    put(&s, &in, 3 * SPOOL_MEMORY + 7);
    take(&s, &out, 3 * SPOOL_MEMORY + 7, 1 << 20);
    expect_empty(&s);
    spool_fini(&s);
}

static void
test_reading_and_writing_in_turn_keeps_the_order(void **state UNUSED)
{
    static const size_t sizes[] = {1, 4096, 65528, 200000, 3, SPOOL_MEMORY};
    struct spool s;
    uint64_t in = 0;
    uint64_t out = 0;
    spool_init(&s);
    for (size_t i = 0; i < 60; i++) {
        put(&s, &in, sizes[i % ARRAY_SIZE(sizes)]);
        uint64_t size = spool_size(&s);
        assert_int_equal(size, in - out);
        take(&s, &out, (size_t)(i % 7 == 6 ? size : size / 3), 10007);
    }
    take(&s, &out, (size_t)spool_size(&s), 1 << 20);
    expect_empty(&s);
    assert_int_equal(in, out);
    spool_fini(&s);
}

/* What went through takes no room on the disk any more. */
static void
test_an_emptied_file_is_empty(void **state UNUSED)
{
    struct spool s;
    uint64_t in = 0;
    uint64_t out = 0;
    spool_init(&s);
    for (int i = 0; i < 3; i++) {
        struct stat st;
        put(&s, &in, 2 * SPOOL_MEMORY);
        assert_int_equal(fstat(s.fd, &st), 0);
        assert_true(st.st_size > 0 && st.st_size <= 2 * SPOOL_MEMORY);
        take(&s, &out, 2 * SPOOL_MEMORY, 70000);
        expect_empty(&s);
        assert_int_equal(fstat(s.fd, &st), 0);
        assert_int_equal(st.st_size, 0);
    }
    spool_fini(&s);
}

static void
test_the_file_has_no_name_and_is_private(void **state UNUSED)
{
    struct spool s;
    uint64_t in = 0;
    spool_init(&s);
    put(&s, &in, SPOOL_MEMORY + 1);
    struct stat st;
    assert_int_equal(fstat(s.fd, &st), 0);
    assert_int_equal(st.st_nlink, 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(fcntl(s.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    int names = 0;
    while (readdir(dir) != NULL) {
        names++;
    }
    assert_int_equal(names, 2); /* . and .. */
    assert_int_equal(closedir(dir), 0);
    int fd = s.fd;
    spool_fini(&s);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(s.fd, -1);
    put(&s, &in, 10); /* usable again */
    assert_int_equal(spool_size(&s), 10);
    spool_fini(&s);
}

static void
test_no_folder_for_the_file_is_an_error(void **state UNUSED)
{
    static char block[SPOOL_MEMORY];
    struct spool s;
    spool_init(&s);
    assert_int_equal(setenv("TMPDIR", "/nonexistent", 1), 0);
    assert_int_equal(spool_write(&s, block, sizeof(block)), 0);
    assert_int_equal(spool_write(&s, block, 1), -ENOENT);
    assert_int_equal(spool_size(&s), sizeof(block));
    assert_int_equal(setenv("TMPDIR", folder, 1), 0);
    spool_fini(&s);
}

/* What comes before the first byte without room can be read. */
static void
test_what_fits_stays(void **state UNUSED)
{
    static char block[3 * SPOOL_MEMORY];
    static char got[sizeof(block)];
    struct spool s;
    spool_init(&s);
    memset(block, 'x', sizeof(block));
    assert_int_equal(setenv("TMPDIR", "/nonexistent", 1), 0);
    assert_int_equal(spool_write(&s, block, 1000), 0);
    assert_int_equal(spool_write(&s, block, sizeof(block)), -ENOENT);
    assert_int_equal(spool_size(&s), SPOOL_MEMORY);
    assert_int_equal(spool_read(&s, got, sizeof(got)), SPOOL_MEMORY);
    assert_memory_equal(got, block, SPOOL_MEMORY);
    assert_int_equal(setenv("TMPDIR", folder, 1), 0);
    spool_fini(&s);
}

/* A file may not grow: what a full disk looks like, but for the number. */
static void
test_a_full_disk_is_an_error(void **state UNUSED)
{
    static char block[SPOOL_MEMORY];
    struct rlimit before;
    struct spool s;
    spool_init(&s);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit small = {.rlim_cur = 4096, .rlim_max = before.rlim_max};
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(spool_write(&s, block, sizeof(block)), 0);
    int r = spool_write(&s, block, 8192);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(r, -EFBIG);
    spool_fini(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_around_the_bound_of_memory),
        cmocka_unit_test(test_one_block_larger_than_memory),
        cmocka_unit_test(test_reading_and_writing_in_turn_keeps_the_order),
        cmocka_unit_test(test_an_emptied_file_is_empty),
        cmocka_unit_test(test_the_file_has_no_name_and_is_private),
        cmocka_unit_test(test_no_folder_for_the_file_is_an_error),
        cmocka_unit_test(test_what_fits_stays),
        cmocka_unit_test(test_a_full_disk_is_an_error),
    };
    return cmocka_run_group_tests_name("spool", tests, set_up, tear_down);
}
