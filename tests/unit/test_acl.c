/*
 * test_acl.c - net/acl: who may connect (F3)
 */
#include "unit.h"

#include "net/acl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>

static struct sockaddr_storage
peer(const char *address)
{
    union {
        struct sockaddr_storage any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } a;
    memset(&a, 0, sizeof(a));
    if (strcmp(address, "unix") == 0) {
        a.any.ss_family = AF_UNIX;
    }
    else if (strchr(address, ':') == NULL) {
        a.in.sin_family = AF_INET;
        assert_int_equal(inet_pton(AF_INET, address, &a.in.sin_addr), 1);
    }
    else {
        a.in6.sin6_family = AF_INET6;
        assert_int_equal(inet_pton(AF_INET6, address, &a.in6.sin6_addr), 1);
    }
    return a.any;
}

static void
test_addresses_and_networks(void **state UNUSED)
{
    static const struct {
        const char *allow, *peer;
        bool may;
    } cases[] = {
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"192.0.2.1", "::ffff:192.0.2.1", true}, /* on a socket for both */
        {"192.0.2.1", "::ffff:192.0.2.2", false},
        {"192.0.2.1", "::192.0.2.1", false},
        {"::ffff:192.0.2.1", "192.0.2.1", true},
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.0/8", "9.255.255.255", false},
        {"10.9.9.9/8", "10.1.2.3", true}, /* bits behind the mask */
        {"10.0.0.0/9", "10.127.255.255", true},
        {"10.0.0.0/9", "10.128.0.0", false},
        {"192.0.2.128/31", "192.0.2.129", true},
        {"192.0.2.128/31", "192.0.2.130", false},
        {"192.0.2.128/32", "192.0.2.128", true},
        {"192.0.2.128/32", "192.0.2.129", false},
        {"0.0.0.0/0", "203.0.113.7", true},
        {"0.0.0.0/0", "2001:db8::1", false}, /* all of IPv4 only */
        {"::/0", "2001:db8::1", true},
        {"::1", "::1", true},
        {"::1", "127.0.0.1", false},
        {"2001:db8::/32", "2001:db8:ffff::1", true},
        {"2001:db8::/32", "2001:db9::1", false},
        {"2001:db8::/33", "2001:db8:7fff::", true},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"2001:db8::1/128", "2001:db8::1", true},
        {"2001:db8::1/128", "2001:db8::", false},
        {"[2001:db8::1]", "2001:db8::1", true}, /* as --bind writes it */
        {"[2001:db8::1]", "2001:db8::2", false},
        {"localhost", "127.0.0.1", true},
        {"localhost", "127.255.0.9", true},
        {"localhost", "::1", true},
        {"localhost", "128.0.0.1", false},
        {"localhost", "::2", false},
        {"localhost", "192.0.2.1", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct acl a = {.n = 0};
        assert_int_equal(acl_add(&a, cases[i].allow), 0);
        assert_false(acl_is_empty(&a));
        struct sockaddr_storage p = peer(cases[i].peer);
        if (acl_peer(&a, &p) != cases[i].may) {
            fail_msg("%s with %s", cases[i].peer, cases[i].allow);
        }
        acl_fini(&a);
    }
}

static void
test_what_is_no_address(void **state UNUSED)
{
    static const char *const texts[] = {
        "",
        "/",
        "/8",
        "10",
        "10.0.0",
        "10.0.0.256",
        "10.0.0.0.0",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/x",
        "10.0.0.0/-1",
        "10.0.0.0/8/8",
        "010.0.0.1",
        " 10.0.0.1",
        "10.0.0.1 ",
        "::/129",
        ":",
        ":::",
        "2001:db8::x",
        "[::1",
        "::1]",
        "[]",
        "[127.0.0.1]",
        "[::1]:80",
        "localhost/8",
        "localhost.",
        "Any",
        "any/8",
        "anything",
        "fe80::1%lo",
        "0x7f.1",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct acl a = {.n = 0};
        if (acl_add(&a, texts[i]) != -EINVAL || !acl_is_empty(&a)) {
            fail_msg("\"%s\" is taken", texts[i]);
        }
        acl_fini(&a);
    }
}

static void
test_lists(void **state UNUSED)
{
    struct acl a = {.n = 0};
    struct sockaddr_storage four = peer("192.0.2.1");
    struct sockaddr_storage six = peer("2001:db8::1");
    struct sockaddr_storage local = peer("unix");
    /* Nothing said: the listener decided that this is no risk. */
    assert_true(acl_is_empty(&a));
    assert_true(acl_peer(&a, &four));

    assert_int_equal(acl_add(&a, "192.0.2.0/24"), 0);
    assert_true(acl_peer(&a, &four));
    assert_false(acl_peer(&a, &six));
    assert_true(acl_peer(&a, &local)); /* guarded by its mode */
    assert_int_equal(acl_add(&a, "2001:db8::/64"), 0);
    assert_true(acl_peer(&a, &four));
    assert_true(acl_peer(&a, &six));

    a.tcp_only = true; /* FCGI_WEB_SERVER_ADDRS */
    assert_true(acl_peer(&a, &four));
    assert_false(acl_peer(&a, &local));
    a.tcp_only = false;

    struct sockaddr_storage other = peer("203.0.113.7");
    assert_false(acl_peer(&a, &other));
    assert_int_equal(acl_add(&a, "any"), 0);
    assert_true(acl_peer(&a, &other));
    acl_fini(&a);
    assert_true(acl_is_empty(&a));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_and_networks),
        cmocka_unit_test(test_what_is_no_address),
        cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests_name("allow", tests, NULL, NULL);
}
