/*
 * test_warm.c - warm/: the folder, the names and the environment of instances
 */
#include "unit.h"

#include "base/clock.h"
#include "warm/warm_connect.h"
#include "warm/warm_environment.h"
#include "warm/warm_folder.h"
#include "warm/warm_name.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>

static char above[] = "/tmp/wsgi-cgi-unit.XXXXXX";

static int
set_up(void **state UNUSED)
{
    assert_non_null(mkdtemp(above));
    assert_int_equal(setenv("TMPDIR", above, 1), 0);
    assert_int_equal(unsetenv("XDG_RUNTIME_DIR"), 0);
    return 0;
}

static int
tear_down(void **state UNUSED)
{
    char command[64];

    (void)snprintf(command, sizeof command, "rm -rf %s", above);
    return system(command);
}

/* -- the folder ------------------------------------------------------------ */

static void
path_of_folder(char to[128])
{
    (void)snprintf(to, 128, "%s/wsgi-cgi-%lu", above, (unsigned long)geteuid());
}

static void
test_folder_is_found_without_creating_it(void **state UNUSED)
{
    char path[128], why[WARM_WHY_SIZE];
    struct warm_folder f;

    path_of_folder(path);
    assert_int_equal(warm_folder_find(&f, why), 0);
    assert_string_equal(f.path, path);
    assert_int_equal(f.fd, -1);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(warm_folder_open(&f, why), 0);
    warm_folder_close(&f);
    assert_int_equal(warm_folder_find(&f, why), 0);
    assert_string_equal(f.path, path);
    assert_true(f.fd >= 0);
    warm_folder_close(&f);
    assert_int_equal(rmdir(path), 0);
}

static void
test_folder_is_private(void **state UNUSED)
{
    char path[128], why[WARM_WHY_SIZE];
    struct warm_folder f;
    struct stat st;

    path_of_folder(path);
    mode_t old = umask(0777);
    assert_int_equal(warm_folder_open(&f, why), 0);
    assert_int_equal(umask(old), 0777);
    assert_string_equal(f.path, path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    warm_folder_close(&f);
    assert_int_equal(f.fd, -1);
    assert_int_equal(warm_folder_find(&f, why), 0);
    warm_folder_close(&f);
    assert_int_equal(rmdir(path), 0);
}

/* What is there already must be ours. The next place is taken instead; here /tmp
 * may have one. */
static void
test_folder_of_others(void **state UNUSED)
{
    char path[128], why[WARM_WHY_SIZE];
    struct warm_folder f;

    path_of_folder(path);
    assert_int_equal(symlink("/", path), 0);
    assert_true(warm_folder_open_nth(&f, 1, why) < 0);
    assert_non_null(strstr(why, "it is no folder"));
    assert_int_equal(unlink(path), 0);

    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, 0750), 0);
    assert_int_equal(warm_folder_open_nth(&f, 1, why), -EPERM);
    assert_non_null(strstr(why, "others may enter it"));
    assert_int_equal(f.fd, -1);
    assert_int_equal(chmod(path, 0700), 0);

    assert_int_equal(chmod(above, 0777), 0);
    assert_int_equal(warm_folder_open_nth(&f, 1, why), -EPERM);
    assert_non_null(strstr(why, "sticky"));
    assert_int_equal(chmod(above, 01777), 0);
    assert_int_equal(warm_folder_open_nth(&f, 1, why), 0);
    warm_folder_close(&f);
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 1, 1), 0);
        assert_int_equal(warm_folder_open_nth(&f, 1, why), -EPERM);
        assert_non_null(strstr(why, "it belongs to"));
        assert_int_equal(chown(path, 0, 0), 0);
        assert_int_equal(chown(above, 1, 1), 0);
        assert_int_equal(warm_folder_open_nth(&f, 1, why), -EPERM);
        assert_non_null(strstr(why, "the folder above it belongs to"));
        assert_int_equal(chown(above, 0, 0), 0);
    }
    assert_int_equal(chmod(above, 0700), 0);
    assert_int_equal(rmdir(path), 0);
}

/* For root, who binds sockets there by path. */
static void
test_path_of_others(void **state UNUSED)
{
    char way[64], link[80], tmp[80], why[WARM_WHY_SIZE];
    struct warm_folder f;

    if (geteuid() != 0) {
        print_message("only root has more to check\n");
        skip();
    }
    (void)snprintf(way, sizeof way, "%s/way", above);
    (void)snprintf(link, sizeof link, "%s/link", way);
    (void)snprintf(tmp, sizeof tmp, "%s/tmp", way);
    assert_int_equal(mkdir(way, 0755), 0);
    assert_int_equal(mkdir(tmp, 0700), 0);
    assert_int_equal(symlink(tmp, link), 0);
    assert_int_equal(setenv("TMPDIR", link, 1), 0);
    assert_int_equal(warm_folder_open_nth(&f, 1, why), -ENOENT);
    assert_int_equal(chown(way, 1, 1), 0);
    assert_int_equal(warm_folder_open_nth(&f, 1, why), -EXDEV);
    assert_int_equal(setenv("TMPDIR", tmp, 1), 0);
    assert_int_equal(warm_folder_open_nth(&f, 1, why), -EPERM);
    assert_non_null(strstr(why, "another user may replace a folder"));
    assert_int_equal(f.fd, -1);
    assert_int_equal(setenv("TMPDIR", above, 1), 0);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(rmdir(tmp), 0);
    assert_int_equal(rmdir(way), 0);
}

static void
test_folder_is_not_created(void **state UNUSED)
{
    char why[WARM_WHY_SIZE];
    struct warm_folder f;

    assert_int_equal(warm_folder_open_nth(&f, 1, why), -ENOENT);
    assert_int_equal(warm_folder_open_nth(&f, 0, why), -ENOENT);
    assert_int_equal(warm_folder_open_nth(&f, 4, why), -ERANGE);
}

static void
test_long_path(void **state UNUSED)
{
    char why[WARM_WHY_SIZE], path[200] = "/tmp/";
    struct warm_folder f;

    memset(path + strlen(path), 'x', 100);
    assert_int_equal(setenv("TMPDIR", path, 1), 0);
    assert_int_equal(warm_folder_open_nth(&f, 1, why), -ENAMETOOLONG);
    assert_non_null(strstr(why, "too long"));
    assert_int_equal(setenv("TMPDIR", "relative", 1), 0);
    assert_int_equal(warm_folder_open_nth(&f, 1, why), -ENOENT);
    assert_int_equal(setenv("TMPDIR", above, 1), 0);
}

static void
test_lock(void **state UNUSED)
{
    struct warm_folder f, g;
    char why[WARM_WHY_SIZE];

    assert_int_equal(warm_folder_open(&f, why), 0);
    assert_int_equal(warm_folder_open(&g, why), 0);
    assert_int_equal(warm_folder_lock(&f, clock_ms()), 0);
    assert_int_equal(warm_folder_lock(&g, clock_ms() + 20), -ETIMEDOUT);
    warm_folder_unlock(&f);
    assert_int_equal(warm_folder_lock(&g, clock_ms()), 0);
    warm_folder_close(&g);
    assert_int_equal(warm_folder_lock(&f, clock_ms()), 0);
    warm_folder_close(&f);
}

/* -- names ----------------------------------------------------------------- */

static struct warm_name
name_of_start(const char *app, const char *option, bool is_shebang)
{
    char program[] = "wsgi-cgi", option_copy[32];
    char *argv[] = {program, option_copy, NULL};
    const struct config config = {
        .app = app, .options_end = 2, .is_shebang = is_shebang};
    char why[WARM_WHY_SIZE];
    struct warm_name n;

    (void)snprintf(option_copy, sizeof option_copy, "%s", option);
    assert_int_equal(warm_name_make(&n, &config, argv, why), 0);
    return n;
}

static void
write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static struct warm_name
name_of(const char *app, const char *option)
{
    return name_of_start(app, option, false);
}

#define SAME(A, B, PART) assert_string_equal((A).PART, (B).PART)
#define DIFFER(A, B, PART) assert_string_not_equal((A).PART, (B).PART)

static void
test_what_a_name_depends_on(void **state UNUSED)
{
    char app[64], link[64], other[64], folder[64], restart[80];

    (void)snprintf(app, sizeof app, "%s/app.py", above);
    (void)snprintf(link, sizeof link, "%s/link.py", above);
    (void)snprintf(other, sizeof other, "%s/other.py", above);
    (void)snprintf(folder, sizeof folder, "%s/tmp", above);
    (void)snprintf(restart, sizeof restart, "%s/restart.txt", folder);
    write_file(app, "1");
    write_file(other, "1");
    assert_int_equal(symlink(app, link), 0);
    struct warm_name n = name_of(app, "--keep-warm");

    struct warm_name m = name_of(app, "--keep-warm");
    SAME(n, m, script);
    SAME(n, m, version);
    m = name_of(link, "--keep-warm"); /* perhaps that of another site */
    DIFFER(n, m, script);
    m = name_of(other, "--keep-warm");
    DIFFER(n, m, script);
    m = name_of(app, "--keep-warm -t2");
    DIFFER(n, m, script);
    assert_int_equal(setenv(CONFIG_OPTIONS, "--debug", 1), 0);
    m = name_of(app, "--keep-warm");
    DIFFER(n, m, script);
    assert_int_equal(unsetenv(CONFIG_OPTIONS), 0);

    write_file(app, "12");
    m = name_of(app, "--keep-warm");
    SAME(n, m, script);
    DIFFER(n, m, version);
    assert_int_equal(mkdir(folder, 0700), 0);
    write_file(restart, "");
    n = name_of(app, "--keep-warm");
    SAME(n, m, script);
    DIFFER(n, m, version);
}

/* An edited #! line is another version of the same script. */
static void
test_options_of_a_script(void **state UNUSED)
{
    char app[64];

    (void)snprintf(app, sizeof app, "%s/app.cgi", above);
    write_file(app, "1");
    struct warm_name n = name_of_start(app, "--keep-warm", true);
    struct warm_name m = name_of_start(app, "--keep-warm -t2", true);
    SAME(n, m, script);
    DIFFER(n, m, version);
    m = name_of(app, "--keep-warm");
    DIFFER(n, m, script);
}

static void
test_entries(void **state UNUSED)
{
    struct warm_name n = {"0123456789abcdef", "fedcba9876543210"}, m;
    char entry[WARM_ENTRY_SIZE];

    warm_name_entry(&n, WARM_SOCKET, entry);
    assert_string_equal(entry, "0123456789abcdef-fedcba9876543210.sock");
    assert_true(warm_name_parse(&m, entry, WARM_SOCKET));
    SAME(n, m, script);
    SAME(n, m, version);
    assert_false(warm_name_parse(&m, entry, WARM_LOG));
    assert_false(warm_name_parse(&m, "0123456789abcdef.sock", WARM_SOCKET));
    assert_false(warm_name_parse(&m, "0123456789abcdef-fedcba987654321/.sock",
                                 WARM_SOCKET));
    assert_false(warm_name_parse(&m, "0123456789abcdef0-fedcba9876543210.sock",
                                 WARM_SOCKET));
}

/* -- connections ----------------------------------------------------------- */

static void
test_connections(void **state UNUSED)
{
    struct warm_name n = {"0123456789abcdef", "fedcba9876543210"};
    char why[WARM_WHY_SIZE];
    struct sockaddr_un address;
    struct warm_folder f;

    assert_int_equal(warm_folder_open(&f, why), 0);
    assert_int_equal(warm_connect(&f, &n, WARM_SOCKET), -ENOENT);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(listener >= 0);
    warm_name_address(&f, &n, WARM_SOCKET, &address);
    assert_int_equal(
        bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(warm_connect(&f, &n, WARM_SOCKET), -ECONNREFUSED);
    assert_int_equal(listen(listener, 0), 0);
    int fd = warm_connect(&f, &n, WARM_SOCKET);
    assert_true(fd >= 0);
    assert_int_equal(warm_connect_pid(fd), getpid());
    assert_int_equal(warm_connect_kill(fd, 0), 0);
    /* The queue is full. */
    assert_int_equal(warm_connect(&f, &n, WARM_SOCKET), -EAGAIN);
    (void)close(listener);
    /* Its number may be that of another process by now. */
    assert_int_equal(warm_connect_kill(fd, 0), -ESRCH);
    (void)close(fd);
    if (geteuid() == 0) {
        assert_int_equal(unlink(address.sun_path), 0);
        listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(
            bind(listener, (struct sockaddr *)&address, sizeof address), 0);
        assert_int_equal(seteuid(1), 0);
        assert_int_equal(listen(listener, 1), 0);
        assert_int_equal(seteuid(0), 0);
        assert_int_equal(warm_connect(&f, &n, WARM_SOCKET), -EPERM);
        (void)close(listener);
    }
    warm_folder_close(&f);
}

/* A socket with a queue of one connection. */
static int
bind_and_listen(const struct warm_folder *f, const struct warm_name *n,
                const char *end)
{
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    warm_name_address(f, n, end, &address);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 0), 0);
    return fd;
}

static void
test_any_connection(void **state UNUSED)
{
    struct warm_name n = {"0000000000000000", "1111111111111111"};
    char why[WARM_WHY_SIZE];
    struct warm_folder f;

    assert_int_equal(warm_folder_open(&f, why), 0);
    assert_true(warm_connect_is_nobody(warm_connect_any(&f, &n)));
    int control = bind_and_listen(&f, &n, WARM_CONTROL);
    int first = warm_connect_any(&f, &n);
    assert_true(first >= 0);
    /* The queue of one that is frozen is full at some time: it lives. */
    assert_int_equal(warm_connect_any(&f, &n), -EAGAIN);
    int listener = bind_and_listen(&f, &n, WARM_SOCKET);
    int second = warm_connect_any(&f, &n);
    assert_true(second >= 0);
    assert_int_equal(warm_connect_any(&f, &n), -EAGAIN);
    (void)close(control);
    (void)close(first);
    (void)close(listener);
    (void)close(second);
    assert_true(warm_connect_is_nobody(warm_connect_any(&f, &n)));
    warm_folder_close(&f);
}

/* -- the environment ------------------------------------------------------- */

static void
test_environment(void **state UNUSED)
{
    static const char *const environment[] = {"PATH=/bin",
                                              "HTTP_COOKIE=a",
                                              "REQUEST_METHOD=GET",
                                              "REMOTE_USER=x",
                                              "SSL_CLIENT_S_DN=",
                                              "DATABASE=db",
                                              "CONTENT_TYPE=t",
                                              "AUTH_TYPE=Basic",
                                              "GATEWAY_INTERFACE=CGI/1.1",
                                              "REDIRECT_URL=/",
                                              "HTTPS=on",
                                              "UNIQUE_ID=1",
                                              "LISTEN_FDS=1",
                                              "WSGI_CGI_WARM=1",
                                              "WSGI_CGI_OPTIONS=--old",
                                              "AUTH_TYPES=stay",
                                              "LD_LIBRARY_PATH=",
                                              "QUERY_STRING=",
                                              "no-gzip=1",
                                              "SERVER_NAME=h",
                                              "SSL_CERT_FILE=/ca.pem",
                                              NULL};
    static const char *const more[] = {"WSGI_CGI_OPTIONS=--new"};
    char **e = warm_environment_new((char *const *)(uintptr_t)environment,
                                    (char *const *)(uintptr_t)more, 1);

    assert_non_null(e);
    assert_string_equal(e[0], "PATH=/bin");
    assert_string_equal(e[1], "DATABASE=db");
    assert_string_equal(e[2], "AUTH_TYPES=stay");
    assert_string_equal(e[3], "LD_LIBRARY_PATH=");
    assert_string_equal(e[4], "SSL_CERT_FILE=/ca.pem");
    assert_string_equal(e[5], "WSGI_CGI_OPTIONS=--new");
    assert_null(e[6]);
    free(e);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder_is_not_created),
        cmocka_unit_test(test_folder_is_found_without_creating_it),
        cmocka_unit_test(test_folder_is_private),
        cmocka_unit_test(test_folder_of_others),
        cmocka_unit_test(test_path_of_others),
        cmocka_unit_test(test_long_path),
        cmocka_unit_test(test_lock),
        cmocka_unit_test(test_what_a_name_depends_on),
        cmocka_unit_test(test_options_of_a_script),
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_connections),
        cmocka_unit_test(test_any_connection),
        cmocka_unit_test(test_environment),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
