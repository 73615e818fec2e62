/*
 * test_address.c - net/address: addresses as text, read and written again
 */
#include "unit.h"

#include "base/compiler.h"
#include "net/address.h"

#include <string.h>

static void
is_written_as(const char *text, const char *wanted)
{
    struct address a;
    char to[ADDRESS_TEXT_SIZE];

    assert_int_equal(address_parse("--bind", text, &a), 0);
    address_format(&a.u, a.len, to);
    assert_string_equal(to, wanted);
}

static void
test_forms(void **state UNUSED)
{
    is_written_as("unix:/run/app.sock", "unix:/run/app.sock");
    is_written_as("/run/app.sock", "unix:/run/app.sock");
    is_written_as("@name", "@name");
    is_written_as("unix:@name", "@name");
    is_written_as("10.1.2.3:9000", "10.1.2.3:9000");
    is_written_as(":9000", "127.0.0.1:9000");
    is_written_as("localhost:0", "127.0.0.1:0");
    is_written_as("[::1]:9000", "[::1]:9000");
    is_written_as("[2001:db8:1111:2222:3333:4444:5555:6666]:65535",
                  "[2001:db8:1111:2222:3333:4444:5555:6666]:65535");
}

/* The longest path fits, and needs no NUL at its end, as the kernel may give
 * it. */
static void
test_longest(void **state UNUSED)
{
    union sockaddr_any u = {.un.sun_family = AF_UNIX};
    char to[ADDRESS_TEXT_SIZE], wanted[ADDRESS_TEXT_SIZE] = "unix:";

    memset(u.un.sun_path, 'x', sizeof u.un.sun_path);
    memset(wanted + 5, 'x', sizeof u.un.sun_path);
    address_format(&u, sizeof u.un, to);
    assert_string_equal(to, wanted);
    u.un.sun_path[0] = '\0';
    address_format(&u, sizeof u.un, to);
    assert_int_equal(to[0], '@');
    assert_int_equal(strlen(to), sizeof u.un.sun_path);
}

static void
test_others(void **state UNUSED)
{
    union sockaddr_any u = {.un.sun_family = AF_UNIX};
    char to[ADDRESS_TEXT_SIZE];

    address_format(&u, offsetof(struct sockaddr_un, sun_path), to);
    assert_string_equal(to, "unix:"); /* a socket without a name */
    u.any.sa_family = AF_PACKET;
    address_format(&u, sizeof u.any, to);
    assert_string_equal(to, "address family 17");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
