/*
 * test_process_title.c - process/process_title: which bytes a title may use
 *
 * The strings lie as the kernel puts them: those of argv, then those of the
 * environment. P26.
 */
#include "unit.h"

#include "base/compiler.h"
#include "process/process_title.h"

#include <string.h>
#include <sys/wait.h>

extern char **environ;

struct strings {
    char bytes[256];
    size_t n;
    char *argv[4];
    char *environment[4];
};

static char *
add(struct strings *s, const char *word)
{
    char *to = s->bytes + s->n;

    memcpy(to, word, strlen(word) + 1);
    s->n += strlen(word) + 1;
    return to;
}

static size_t
fill(struct strings *s, const char *name, const char *last)
{
    *s = (struct strings){.n = 0};
    (void)add(s, "before");
    s->argv[0] = add(s, name);
    s->argv[1] = add(s, last);
    s->environment[0] = add(s, "FIRST=one");
    s->environment[1] = add(s, "SECOND=two");
    s->environment[2] = add(s, "LAST=three");
    size_t end = s->n;
    (void)add(s, "behind");
    environ = s->environment;
    return end;
}

/* The environment of the process has the values that it had. */
static void
check_values(void)
{
    assert_string_equal(getenv("FIRST"), "one");
    assert_string_equal(getenv("SECOND"), "two");
    assert_string_equal(getenv("LAST"), "three");
    assert_int_equal(setenv("FIRST", "more", 1), 0);
    assert_string_equal(getenv("FIRST"), "more");
}

/* Each case has a process of its own: a title is for good. */
static void
in_child(void (*test)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        test();
        _exit(0); /* a failed assertion does not come back here */
    }
    assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void
enough_room(void)
{
    struct strings s, old;
    size_t end = fill(&s, "/usr/bin/wsgi-cgi", "/srv/application.py");
    size_t begin = (size_t)(s.argv[0] - s.bytes);
    size_t first = (size_t)(s.environment[0] - s.bytes);

    old = s;
    process_title_open(s.argv, s.environment, "app.py");
    process_title_set("master");
    process_title_set("worker");
    assert_string_equal(s.argv[0], "wsgi-cgi: worker app.py");
    /* Nothing is left of the command line. */
    for (size_t i = begin + strlen(s.argv[0]); i < first; i++) {
        assert_int_equal(s.bytes[i], '\0');
    }
    assert_memory_equal(s.bytes, old.bytes, begin);
    assert_memory_equal(s.bytes + first, old.bytes + first, s.n - first);
    assert_int_equal(s.bytes[end - 1], '\0');
    assert_ptr_equal(environ[0], s.environment[0]);
    check_values();
}

static void
too_little_room(void)
{
    struct strings s, old;
    size_t end = fill(&s, "w", "a");
    size_t begin = (size_t)(s.argv[0] - s.bytes);
    char *second = s.environment[1];

    old = s;
    process_title_open(s.argv, s.environment, "a");
    process_title_set("master");
    process_title_set("worker");
    assert_string_equal(s.argv[0], "wsgi-cgi: worker a");
    /* 19 bytes: into the second variable, of which nothing is left. */
    for (const char *p = s.argv[0] + 18; p < s.bytes + end - 10; p++) {
        assert_true(*p == '\0' || p >= second + strlen("SECOND=two"));
    }
    assert_memory_equal(s.bytes, old.bytes, begin);
    assert_memory_equal(s.bytes + end - 11, old.bytes + end - 11,
                        s.n - (end - 11));
    check_values();
}

/* More than all of it: the title is cut, and ends with a NUL. */
static void
no_room(void)
{
    struct strings s, old;
    size_t end = fill(&s, "w", "a");
    size_t begin = (size_t)(s.argv[0] - s.bytes);

    old = s;
    process_title_open(s.argv, s.environment,
                       "a very long name of an application");
    process_title_set("master");
    process_title_set("worker");
    assert_int_equal(strlen(s.argv[0]), end - begin - 1);
    assert_int_equal(strncmp(s.argv[0], "wsgi-cgi: worker a very long", 28), 0);
    assert_memory_equal(s.bytes, old.bytes, begin);
    assert_memory_equal(s.bytes + end, old.bytes + end, s.n - end);
    check_values();
}

/* Where the environment lies elsewhere, only the command line is used. */
static void
apart(void)
{
    static char elsewhere[] = "FIRST=one\0SECOND=two\0LAST=three";
    struct strings s;
    size_t end = fill(&s, "w", "a");

    s.environment[0] = elsewhere;
    s.environment[1] = elsewhere + 10;
    s.environment[2] = elsewhere + 21;
    process_title_open(s.argv, s.environment, "app.py");
    process_title_set("worker");
    assert_string_equal(s.argv[0], "wsg");
    assert_string_equal(s.bytes + end, "behind");
    check_values();
}

static void
no_argv(void)
{
    char *none[] = {NULL};

    process_title_set("worker");
    process_title_open(none, none, "app.py");
    process_title_set("worker");
}

static void
test_enough_room(void **state UNUSED)
{
    in_child(enough_room);
}

static void
test_too_little_room(void **state UNUSED)
{
    in_child(too_little_room);
}

static void
test_no_room(void **state UNUSED)
{
    in_child(no_room);
}

static void
test_apart(void **state UNUSED)
{
    in_child(apart);
}

static void
test_no_argv(void **state UNUSED)
{
    in_child(no_argv);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_enough_room),
        cmocka_unit_test(test_too_little_room),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_apart),
        cmocka_unit_test(test_no_argv),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
