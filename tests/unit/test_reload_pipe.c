/*
 * test_reload_pipe.c - reload/reload_pipe: names of files through a pipe, whole or not at
 *                   all, and nobody waits for a reader (P20)
 */
#include "unit.h"

#include "base/clock.h"
#include "reload/reload_pipe.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>

static struct reload_pipe h;
static struct file_watcher t;

/* app/imports.c needs Python. */
struct imports_file *
imports_free(struct imports_file *first)
{
    struct imports_file *next = first->next;

    free(first);
    return next;
}

static struct imports_file *imported;

struct imports_file *
imports_take(void)
{
    struct imports_file *all = imported;

    imported = NULL;
    return all;
}

static void
push(struct imports_file **list, const char *path, struct file_id stamp)
{
    struct imports_file *f = malloc(sizeof *f + strlen(path) + 1);

    assert_non_null(f);
    memcpy(f->path, path, strlen(path) + 1);
    f->stamp = stamp;
    f->is_app = false;
    f->next = *list;
    *list = f;
}

static int
setup(void **state UNUSED)
{
    memset(&t, 0, sizeof t);
    return reload_pipe_open(&h);
}

static int
teardown(void **state UNUSED)
{
    reload_pipe_close(&h);
    file_watcher_fini(&t);
    return 0;
}

/* The path of this program, its stamp through the pipe: is it the same? */
static void
test_stamp(void **state UNUSED)
{
    struct imports_file *list = NULL;
    struct file_id stamp = file_id_of_path("/proc/self/exe");
    struct file_id before_1970 = {1, UINT64_MAX, 0, -1};

    assert_true(file_id_exists(&stamp));
    push(&list, "/proc/self/exe", stamp);
    push(&list, "/nowhere/with blanks\nand lines", before_1970);
    reload_pipe_send(h.write_fd, &list, 0);
    assert_null(list);
    reload_pipe_receive(&h, &t);
    assert_int_equal(t.own.n, 2);
    assert_null(file_watcher_look(&t, 1000));
    assert_null(file_watcher_look(&t, 2000)); /* both as they were said to be */
}

/* The module that APP names is one of the files that always count. */
static void
test_app(void **state UNUSED)
{
    static const struct file_id none;
    struct imports_file *list = NULL;

    push(&list, "/srv/app.py", none);
    list->is_app = true;
    push(&list, "/srv/helper.py", none);
    reload_pipe_send(h.write_fd, &list, 0);
    reload_pipe_receive(&h, &t);
    assert_int_equal(t.own.n, 2);
    assert_int_equal(t.named.n, 1);
}

static void
test_full_pipe(void **state UNUSED)
{
    enum { MANY = 20000 };
    static const struct file_id none;
    struct imports_file *list = NULL;
    char path[128];

    for (int i = 0; i < MANY; i++) {
        (void)snprintf(path, sizeof path, "/srv/app/%0100d.py", i);
        push(&list, path, none);
    }
    int64_t begun = clock_ms();
    reload_pipe_send(h.write_fd, &list, 0);
    assert_true(clock_ms() - begun < 5000);
    assert_non_null(list);
    size_t sent = 0;
    while (list != NULL) {
        reload_pipe_receive(&h, &t);
        assert_true(t.own.n > sent);
        sent = t.own.n;
        reload_pipe_send(h.write_fd, &list, 0);
    }
    reload_pipe_receive(&h, &t);
    assert_int_equal(t.own.n, MANY);
}

static void
test_too_long_and_no_reader(void **state UNUSED)
{
    static const struct file_id none;
    static char path[PIPE_BUF + 100];
    struct imports_file *list = NULL;

    memset(path, 'x', sizeof path - 1);
    path[0] = '/';
    push(&list, "/second", none);
    push(&list, path, none);
    reload_pipe_send(h.write_fd, &list, 0);
    assert_null(list);
    reload_pipe_receive(&h, &t);
    assert_int_equal(t.own.n, 1);

    close(h.read_fd);
    h.read_fd = -1;
    push(&list, "/third", none);
    reload_pipe_send(h.write_fd, &list, 0);
    assert_null(list);
    reload_pipe_receive(&h, &t);
}

/* At the end of a load, once; where nobody asks, nothing is taken. */
static void
test_tell(void **state UNUSED)
{
    static const struct file_id none;

    push(&imported, "/srv/app.py", none);
    push(&imported, "/srv/urls.py", none);
    reload_pipe_tell(-1);
    assert_non_null(imported);
    reload_pipe_tell(h.write_fd);
    assert_null(imported);
    reload_pipe_tell(h.write_fd);
    reload_pipe_receive(&h, &t);
    assert_int_equal(t.own.n, 2);
}

static void
test_nonsense(void **state UNUSED)
{
    static const char bytes[] =
        "0 1 2 3 /a\0x y z w v /b\0\0     \0000 1 2 3 4 /good\0000";

    assert_int_equal(write(h.write_fd, bytes, sizeof bytes - 1),
                     sizeof bytes - 1);
    reload_pipe_receive(&h, &t);
    assert_int_equal(t.own.n, 1);
    assert_int_equal(write(h.write_fd, "0 1 2 3 4 /b", 13), 13);
    reload_pipe_receive(&h, &t); /* the "0" above belonged to it: 00 1 2 3 4 */
    assert_int_equal(t.own.n, 2);
}

#define TEST(F) cmocka_unit_test_setup_teardown(F, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_stamp),     TEST(test_app),
        TEST(test_full_pipe), TEST(test_too_long_and_no_reader),
        TEST(test_tell),      TEST(test_nonsense),
    };
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGPIPE, &ignore, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
