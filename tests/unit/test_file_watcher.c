/*
 * test_file_watcher.c - reload/file_watcher: changes that have settled, files that take turns
 *                  (P20)
 */
#include "unit.h"

#include "base/compiler.h"
#include "reload/file_watcher.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { SECOND = 1000, FOUND_WITHIN = 20 };

static char folder[] = "/tmp/wsgi-cgi-unit.XXXXXX";
static struct file_watcher *t;
static int64_t now;

static void
write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static const char *
path_of(const char *name)
{
    static char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* Writes name and has it watched as it is. */
static void
watch_file(const char *name, const char *text)
{
    write_file(path_of(name), text);
    file_watcher_add(t, path_of(name), file_id_of_path(path_of(name)));
}

static int
setup(void **state UNUSED)
{
    static const struct config config = {.reload = RELOAD_MODULES};

    t = malloc(sizeof *t);
    if (t == NULL || mkdtemp(folder) == NULL) {
        return -1;
    }
    write_file(path_of("app.py"), "1");
    file_watcher_init(t, &config, path_of("app.py"));
    now = 0;
    return 0;
}

static int
teardown(void **state UNUSED)
{
    DIR *d = opendir(folder);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        (void)unlink(path_of(e->d_name));
    }
    (void)rmdir(path_of("tmp"));
    (void)rmdir(path_of("site-packages"));
    (void)closedir(d);
    (void)rmdir(folder);
    (void)snprintf(folder, sizeof folder, "/tmp/wsgi-cgi-unit.XXXXXX");
    file_watcher_fini(t);
    free(t);
    return 0;
}

/* The next look that is due. */
static bool
look(void)
{
    now += SECOND;
    return file_watcher_look(t, now);
}

static void
test_settles(void **state UNUSED)
{
    assert_false(look());
    write_file(path_of("app.py"), "12");
    assert_false(look());
    write_file(path_of("app.py"), "123");
    assert_false(look()); /* still being written */
    assert_true(look());
    assert_false(look());
}

static void
test_is_due_once_a_second(void **state UNUSED)
{
    assert_false(look());
    write_file(path_of("app.py"), "12");
    assert_false(file_watcher_look(t, now + SECOND - 1));
    assert_int_equal(file_watcher_pause(t, now, 700), 700);
    assert_false(look());
    int pause = file_watcher_pause(t, now, 700); /* soon: has it settled? */
    assert_in_range(pause, 1, 500);
    assert_false(file_watcher_look(t, now + pause - 1));
    assert_true(file_watcher_look(t, now + pause));
}

static void
test_restart_file_comes(void **state UNUSED)
{
    assert_false(look());
    assert_int_equal(mkdir(path_of("tmp"), 0700), 0);
    write_file(path_of("tmp/restart.txt"), "");
    assert_false(look());
    assert_true(look());
    assert_int_equal(unlink(path_of("tmp/restart.txt")), 0);
    assert_false(look());
    assert_false(look());
}

static void
test_gone_and_back(void **state UNUSED)
{
    char aside[512];

    (void)snprintf(aside, sizeof aside, "%s", path_of("aside"));
    assert_int_equal(rename(path_of("app.py"), aside), 0);
    assert_false(look());
    assert_false(look());
    assert_int_equal(rename(aside, path_of("app.py")), 0);
    assert_false(look());
    assert_false(look());
    write_file(aside, "1"); /* the same size, another file */
    assert_int_equal(rename(aside, path_of("app.py")), 0);
    assert_false(look());
    assert_true(look());
}

static void
test_changed_before_it_was_added(void **state UNUSED)
{
    struct file_id old;

    write_file(path_of("module.py"), "1");
    old = file_id_of_path(path_of("module.py"));
    write_file(path_of("module.py"), "12");
    file_watcher_add(t, path_of("module.py"), old);
    assert_false(look());
    assert_true(look());
    file_watcher_add(t, path_of("module.py"), old); /* known already */
    assert_false(look());
    assert_false(look());
}

static void
test_refresh(void **state UNUSED)
{
    assert_false(look());
    write_file(path_of("app.py"), "12");
    file_watcher_refresh(t);
    assert_false(look());
    assert_false(look());
    write_file(path_of("app.py"), "123");
    assert_false(look()); /* seen, not settled */
    file_watcher_refresh(t);
    assert_false(look());
}

/* Of so many files none is forgotten, wherever it stands; and those of installed
 * packages do not keep the application's waiting. */
static void
test_turns(void **state UNUSED)
{
    static const int each[] = {0, 350, 699};
    char name[64];

    assert_int_equal(mkdir(path_of("site-packages"), 0700), 0);
    for (int i = 0; i < 700; i++) {
        (void)snprintf(name, sizeof name, "site-packages/%d.py", i);
        watch_file(name, "1");
    }
    for (size_t i = 0; i < ARRAY_SIZE(each); i++) {
        (void)snprintf(name, sizeof name, "site-packages/%d.py", each[i]);
        write_file(path_of(name), "12");
        int looks = 1;
        while (!look() && looks < FOUND_WITHIN) {
            looks++;
        }
        assert_in_range(looks, 2, FOUND_WITHIN - 1);
    }
    write_file(path_of("app.py"), "12");
    assert_false(look());
    assert_true(look());
    for (int i = 0; i < 700; i++) {
        (void)snprintf(name, sizeof name, "site-packages/%d.py", i);
        (void)unlink(path_of(name));
    }
}

static void
test_off(void **state UNUSED)
{
    static const struct config off = {.reload = RELOAD_OFF};

    file_watcher_fini(t);
    file_watcher_init(t, &off, path_of("app.py"));
    write_file(path_of("app.py"), "12");
    assert_false(look());
    assert_false(look());
}

#define TEST(F) cmocka_unit_test_setup_teardown(F, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_settles),
        TEST(test_is_due_once_a_second),
        TEST(test_restart_file_comes),
        TEST(test_gone_and_back),
        TEST(test_changed_before_it_was_added),
        TEST(test_refresh),
        TEST(test_turns),
        TEST(test_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
