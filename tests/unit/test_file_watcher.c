/*
 * test_file_watcher.c - reload/file_watcher: changes that have settled, files that take turns
 *                  (P20)
 */
#include "unit.h"

#include "base/compiler.h"
#include "reload/file_watcher.h"
#include "reload/touch_files.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { SECOND = 1000, FOUND_WITHIN = 20, LONG_AGO = 60 * SECOND };

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
    file_watcher_add(t, path_of(name), file_id_of_path(path_of(name)), false);
}

/* Watches app.py; it has been loaded long ago. */
static void
begin(const struct config *config)
{
    file_watcher_init(t, config, path_of("app.py"));
    file_watcher_note(t, 0, FILE_WATCHER_LOADED);
    now = LONG_AGO;
    file_watcher_note(t, now, FILE_WATCHER_LOADED);
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
    begin(&config);
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
    return file_watcher_look(t, now) != NULL;
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
    assert_null(file_watcher_look(t, now + SECOND - 1));
    assert_int_equal(file_watcher_pause(t, now, 700), 700);
    assert_false(look());
    int pause = file_watcher_pause(t, now, 700); /* soon: has it settled? */
    assert_in_range(pause, 1, 500);
    assert_null(file_watcher_look(t, now + pause - 1));
    assert_non_null(file_watcher_look(t, now + pause));
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
    file_watcher_add(t, path_of("module.py"), old, false);
    assert_false(look());
    assert_true(look());
    file_watcher_add(t, path_of("module.py"), old, false); /* known already */
    assert_false(look());
    assert_false(look());
}

static void
test_refresh(void **state UNUSED)
{
    assert_false(look());
    write_file(path_of("app.py"), "12");
    file_watcher_refresh(t, false);
    assert_false(look());
    assert_false(look());
    write_file(path_of("app.py"), "123");
    assert_false(look()); /* seen, not settled */
    file_watcher_refresh(t, false);
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
    begin(&off);
    write_file(path_of("app.py"), "12");
    assert_false(look());
    assert_false(look());
}

static const struct config script = {.reload = RELOAD_SCRIPT};

/* Changes a file by one byte. True where that is found within two looks. */
static bool
counts(const char *name)
{
    FILE *f = fopen(path_of(name), "a");

    assert_non_null(f);
    assert_true(fputs("1", f) >= 0);
    assert_int_equal(fclose(f), 0);
    return look() || look();
}

/* Half a deployment: imported files count for ten seconds after a load, and as
 * long as it is under way or has failed. */
static void
test_imports_count_for_a_while(void **state UNUSED)
{
    file_watcher_fini(t);
    begin(&script);
    watch_file("helper.py", "1");
    assert_false(counts("helper.py"));
    file_watcher_refresh(t, false);
    assert_true(counts("helper.py")); /* under way */
    now += 60 * SECOND;
    assert_true(counts("helper.py"));
    file_watcher_note(t, now, FILE_WATCHER_LOADED);
    now += 6 * SECOND;
    file_watcher_note(t, now, FILE_WATCHER_LOADED);
    assert_true(counts("helper.py"));
    now += 2 * SECOND;
    file_watcher_note(t, now, FILE_WATCHER_LOADED);
    assert_false(counts("helper.py"));
    assert_true(counts("app.py"));
    file_watcher_note(t, now, FILE_WATCHER_FAILED);
    assert_true(counts("helper.py"));
    now += 60 * SECOND;
    file_watcher_note(t, now, FILE_WATCHER_FAILED);
    assert_true(counts("helper.py"));
}

/* While the other half may be on its way, four times as often. */
static void
test_looks_more_often_after_a_load(void **state UNUSED)
{
    assert_false(look());
    file_watcher_refresh(t, false);
    file_watcher_note(t, now, FILE_WATCHER_LOADED);
    assert_false(look());
    assert_int_equal(file_watcher_pause(t, now, 700), SECOND / 4);
    write_file(path_of("app.py"), "12");
    assert_null(file_watcher_look(t, now + SECOND / 4));
    assert_non_null(file_watcher_look(t, now + SECOND / 2));
}

/* Code that writes one of its modules whenever it is loaded. */
static void
test_ends_some_time(void **state UNUSED)
{
    int loads = 0;

    file_watcher_fini(t);
    begin(&script);
    watch_file("version.py", "1");
    file_watcher_refresh(t, false);
    while (loads < 100 && counts("version.py")) {
        loads++;
        file_watcher_refresh(t, false);
    }
    assert_int_equal(loads, 8);
    file_watcher_refresh(t, true); /* a signal asks for new code */
    assert_true(counts("version.py"));
    file_watcher_note(t, now, FILE_WATCHER_LOADED);
    assert_true(counts("app.py"));
    assert_int_equal(t->in_row, 0);
}

/* APP is a module: its file is known when it has been imported. */
static void
test_file_of_app(void **state UNUSED)
{
    file_watcher_fini(t);
    begin(&script);
    watch_file("module.py", "1");
    assert_false(counts("module.py"));
    file_watcher_refresh(t, false);
    file_watcher_note(t, now, FILE_WATCHER_LOADED);
    now += LONG_AGO;
    file_watcher_note(t, now, FILE_WATCHER_LOADED);
    file_watcher_add(t, path_of("module.py"),
                     file_id_of_path(path_of("module.py")), true);
    assert_true(counts("module.py"));
    assert_false(look());
}

/* A file that is written all the time does not hold up the others for ever. */
static void
test_settles_some_time(void **state UNUSED)
{
    const char *why = NULL;
    int64_t begin_ms = now;

    watch_file("log.py", "1");
    write_file(path_of("app.py"), "12");
    while (why == NULL && now < begin_ms + 20 * SECOND) {
        FILE *f = fopen(path_of("log.py"), "a");
        assert_non_null(f);
        assert_true(fputs("1", f) >= 0);
        assert_int_equal(fclose(f), 0);
        now += SECOND / 4;
        why = file_watcher_look(t, now);
    }
    assert_non_null(why);
    assert_non_null(strstr(why, "app.py"));
    assert_true(now - begin_ms >= 5 * SECOND && now - begin_ms <= 7 * SECOND);
}

/* The reason is the file; of several the one that always counts. */
static void
test_names_the_file(void **state UNUSED)
{
    char wanted[600];

    watch_file("helper.py", "1");
    write_file(path_of("helper.py"), "12");
    assert_false(look());
    write_file(path_of("app.py"), "12");
    assert_false(look());
    (void)snprintf(wanted, sizeof wanted, "touched: %s", path_of("app.py"));
    now += SECOND;
    assert_string_equal(file_watcher_look(t, now), wanted);
}

/* --touch-reload: with --reload=off as well. */
static void
test_touch_files(void **state UNUSED)
{
    static char name[512];
    static char *files[] = {name};
    static struct config config = {.reload = RELOAD_OFF,
                                   .touch_reload = {files, 1}};

    (void)snprintf(name, sizeof name, "%s", path_of("stamp"));
    assert_int_equal(touch_files_prepare(&config), 0);
    file_watcher_fini(t);
    begin(&config);
    assert_false(counts("app.py"));
    assert_true(counts("stamp")); /* it comes */
    assert_true(counts("stamp"));
}

#define TEST(F) cmocka_unit_test_setup_teardown(F, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_settles),
        TEST(test_settles_some_time),
        TEST(test_is_due_once_a_second),
        TEST(test_restart_file_comes),
        TEST(test_gone_and_back),
        TEST(test_changed_before_it_was_added),
        TEST(test_refresh),
        TEST(test_turns),
        TEST(test_off),
        TEST(test_imports_count_for_a_while),
        TEST(test_looks_more_often_after_a_load),
        TEST(test_ends_some_time),
        TEST(test_file_of_app),
        TEST(test_names_the_file),
        TEST(test_touch_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
