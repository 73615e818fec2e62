/*
 * test_path.c - gateway/path: the mount's boundary, and which SCRIPT_NAMEs are
 *               whole paths
 *
 * The paths that real servers sent are in test_params.c; here are the edges.
 */
#include "unit.h"

#include "gateway/path.h"

#include <errno.h>
#include <stdbool.h>

static struct path_part
part(const char *s)
{
    return (struct path_part){s, s == NULL ? 0 : strlen(s)};
}

static void
test_split_at_the_mount(void **state UNUSED)
{
    static const struct {
        const char *mount, *joined;
        int result;
        const char *info;
    } cases[] = {
        {"", "", 0, ""},
        {"", "/", 0, "/"},
        {"", "/a//b/", 0, "/a//b/"},
        {"/a", "/a", 0, ""},
        {"/a", "/a/", 0, "/"},
        {"/a", "/a//", 0, "//"},
        {"/a", "/a/b", 0, "/b"},
        {"/a", "/a/a/a", 0, "/a/a"},
        {"/a", "/ab", -ENOENT, NULL},
        {"/a", "/a%2Fb", -ENOENT, NULL},
        {"/a", "/A/b", -ENOENT, NULL},
        {"/a", "/", -ENOENT, NULL},
        {"/a", "", -ENOENT, NULL},
        {"/a", "a", -ENOENT, NULL},
        {"/a", "//a", -ENOENT, NULL},
        {"/a/b", "/a", -ENOENT, NULL},
        {"/a/b", "/a/b", 0, ""},
        {"/a/b", "/a/b/c", 0, "/c"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct path_part script = {NULL, 4711};
        struct path_part info = {NULL, 4711};
        struct path_part joined = part(cases[i].joined);
        int r = path_split_at_mount(cases[i].mount, joined, &script, &info);
        if (r != cases[i].result) {
            fail_msg("%s at %s: %d", cases[i].joined, cases[i].mount, r);
        }
        if (r < 0) {
            assert_int_equal(script.n, 4711);
            assert_int_equal(info.n, 4711);
            continue;
        }
        assert_int_equal(script.n, strlen(cases[i].mount));
        assert_ptr_equal(script.s, joined.s);
        assert_int_equal(info.n, strlen(cases[i].info));
        assert_memory_equal(info.s, cases[i].info, info.n);
    }
}

static void
test_parts_need_no_nul(void **state UNUSED)
{
    /* Only "/a/" of "/a/b" is the path. */
    struct path_part script;
    struct path_part info;
    assert_int_equal(path_split_at_mount("/a", (struct path_part){"/a/b", 3},
                                         &script, &info),
                     0);
    assert_int_equal(info.n, 1);
    assert_int_equal(path_split_at_mount("/ab", (struct path_part){"/ab", 2},
                                         &script, &info),
                     -ENOENT);
}

static void
test_whole_paths(void **state UNUSED)
{
    static const struct {
        const char *what, *script;
        const char *software, *file, *root, *context_root, *prefix;
        bool is_file, whole;
    } cases[] = {
        {.what = "nothing known", .script = "/a"},
        {.what = "nginx", .script = "/a", .software = "nginx/1", .whole = true},
        {.what = "not quite nginx", .script = "/a", .software = "nginx"},
        {.what = "not quite nginx", .script = "/a", .software = "xnginx/1"},
        {.what = "nginx, CGI",
         .script = "/a",
         .software = "nginx/1",
         .is_file = true},
        {.what = "proxy, no root",
         .script = "/a",
         .file = "proxy:fcgi://h/a",
         .whole = true},
        {.what = "proxy, in the root",
         .script = "/a",
         .file = "proxy:fcgi://h/w/a",
         .root = "/w"},
        {.what = "proxy, the root itself",
         .script = "/a",
         .file = "proxy:fcgi://h/w",
         .root = "/w/"},
        {.what = "proxy, slashes in front do not count",
         .script = "/a",
         .file = "proxy:fcgi://h//w/a",
         .root = "/w"},
        {.what = "proxy, in the context's root",
         .script = "/a",
         .file = "proxy:fcgi://h/c/a",
         .root = "/w",
         .context_root = "/c"},
        {.what = "proxy, a neighbour of the root",
         .script = "/a",
         .file = "proxy:fcgi://h/wx/a",
         .root = "/w",
         .whole = true},
        {.what = "proxy, a host and no path",
         .script = "/a",
         .file = "proxy:fcgi://h",
         .root = "/w",
         .whole = true},
        {.what = "a root of slashes only holds nothing",
         .script = "/a",
         .file = "proxy:fcgi://h/a",
         .root = "/",
         .whole = true},
        {.what = "encoded, with a context",
         .script = "/a b",
         .file = "/a%20b",
         .root = "/w",
         .prefix = "",
         .whole = true},
        {.what = "all digits of an escape",
         .script = "/\x0f\xf0\xAB\xcd",
         .file = "/%0f%F0%aB%Cd",
         .root = "/w",
         .prefix = "",
         .whole = true},
        {.what = "encoded, without a context",
         .script = "/a b",
         .file = "/a%20b",
         .root = "/w"},
        {.what = "encoded, but of another script",
         .script = "/a b",
         .file = "/a%20c",
         .root = "/w",
         .prefix = ""},
        {.what = "encoded, shorter",
         .script = "/a bc",
         .file = "/a%20b",
         .root = "/w",
         .prefix = ""},
        {.what = "encoded, longer",
         .script = "/a b",
         .file = "/a%20bc",
         .root = "/w",
         .prefix = ""},
        {.what = "an escape that is none",
         .script = "/a%2",
         .file = "/a%2",
         .root = "/w",
         .prefix = "",
         .whole = true},
        {.what = "an escape that is none",
         .script = "/a%zz",
         .file = "/a%zz",
         .root = "/w",
         .prefix = "",
         .whole = true},
        {.what = "a real file",
         .script = "/a",
         .file = "/srv/a.cgi",
         .root = "/w",
         .prefix = ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct path_hints hints = {
            .server_software = part(cases[i].software),
            .script_filename = part(cases[i].file),
            .document_root = part(cases[i].root),
            .context_document_root = part(cases[i].context_root),
            .context_prefix = part(cases[i].prefix),
            .script_is_file = cases[i].is_file,
        };
        if (path_script_is_whole(part(cases[i].script), &hints) !=
            cases[i].whole) {
            fail_msg("case %zu: %s", i, cases[i].what);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split_at_the_mount),
        cmocka_unit_test(test_parts_need_no_nul),
        cmocka_unit_test(test_whole_paths),
    };
    return cmocka_run_group_tests_name("path", tests, NULL, NULL);
}
