/*
 * test_log.c - os/log: one line, one write(2), nothing unescaped
 *
 * The test's own write() replaces that of the C library for fd 2, to count the
 * calls and to fail some of them.
 */
#include "unit.h"

#include "os/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/syscall.h>

static struct {
    int calls;
    int fail_first; /* this many calls fail ... */
    int error;      /* ... with this */
    size_t at_most; /* > 0: bytes one call takes */
} fake;

ssize_t
write(int fd, const void *bytes, size_t n)
{
    if (fd == STDERR_FILENO) {
        fake.calls++;
        if (fake.calls <= fake.fail_first) {
            errno = fake.error;
            return -1;
        }
        if (fake.at_most > 0 && n > fake.at_most) {
            n = fake.at_most;
        }
    }
    return syscall(SYS_write, fd, bytes, n);
}

static char line[3 * 1024 * 1024];
static char want[2 * 1024 * 1024];

static struct capture capture;

static int
setup(void **state UNUSED)
{
    fake.calls = fake.fail_first = 0;
    fake.at_most = 0;
    capture_start(&capture);
    return 0;
}

static void
expect(const char *level_and_text)
{
    capture_end(&capture, line, sizeof(line));
    log_set_up(LOG_PLAIN, LOG_LEVEL_INFO);
    (void)snprintf(want, sizeof(want), "wsgi-cgi[%ld]: %s\n", (long)getpid(),
                   level_and_text);
    assert_string_equal(line, want);
}

static void
test_prefix_and_levels(void **state UNUSED)
{
    log_error("no %s", "file");
    log_warning("%d", 2);
    log_notice("three");
    log_info("four");
    capture_end(&capture, line, sizeof(line));
    long pid = (long)getpid();
    (void)snprintf(want, sizeof(want),
                   "wsgi-cgi[%ld]: error: no file\n"
                   "wsgi-cgi[%ld]: warning: 2\n"
                   "wsgi-cgi[%ld]: notice: three\n"
                   "wsgi-cgi[%ld]: info: four\n",
                   pid, pid, pid, pid);
    assert_string_equal(line, want);
    assert_int_equal(fake.calls, 4);
}

static void
test_control_characters_are_escaped(void **state UNUSED)
{
    log_error("%s", "a\nb\r\x1b[2J\x01\x7f\t\\");
    expect("error: a\\x0ab\\x0d\\x1b[2J\\x01\\x7f\\x09\\");
}

static void
test_utf8_is_kept(void **state UNUSED)
{
    log_error("%s", "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xc2\xa0");
    expect("error: gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xc2\xa0");
}

static void
test_c1_controls_are_escaped(void **state UNUSED)
{
    /* U+009B is CSI, what ESC [ is. */
    log_error("%s", "\xc2\x9b"
                    "2J \xc2\x80");
    expect("error: \\xc2\\x9b2J \\xc2\\x80");
}

static void
test_what_is_not_utf8_is_escaped(void **state UNUSED)
{
    /* 0x9b alone is CSI to a terminal that is not one of UTF-8. */
    log_error("%s", "a\x9b"
                    "2J \xff \xe2\x82 \xc2");
    expect("error: a\\x9b2J \\xff \\xe2\\x82 \\xc2");
}

static void
test_levels(void **state UNUSED)
{
    static const char *const names[] = {"error", "warning", "notice", "info",
                                        "debug"};
    for (int most = 0; most < LOG_LEVEL_MAX; most++) {
        assert_string_equal(log_level_name((enum log_level)most), names[most]);
        if (most > 0) {
            capture_start(&capture);
        }
        log_set_up(LOG_PLAIN, (enum log_level)most);
        log_error("0");
        log_warning("1");
        log_notice("2");
        log_info("3");
        log_debug("4");
        log_set_up(LOG_PLAIN, LOG_LEVEL_INFO);
        capture_end(&capture, line, sizeof(line));
        size_t n = 0;
        for (const char *s = line; (s = strchr(s, '\n')) != NULL; s++) {
            n++;
        }
        assert_int_equal(n, most + 1);
    }
    assert_null(log_level_name(LOG_LEVEL_MAX));
}

/* The time is not compared. */
static void
expect_stamped(const char *text)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    for (char *s = line; *s != '\0'; s++) {
        size_t i = 0;
        while (shape[i] != '\0' && (shape[i] == 'd' ? s[i] >= '0' && s[i] <= '9'
                                                    : s[i] == shape[i])) {
            i++;
        }
        if (shape[i] == '\0') {
            memcpy(s, "TIME", 4);
            memmove(s + 4, s + i, strlen(s + i) + 1);
        }
    }
    assert_string_equal(line, text);
}

static const struct log_entry entry = {.level = LOG_LEVEL_ERROR,
                                       .id = "i1",
                                       .request = "GET /\x1b",
                                       .text = "it \"raised\"",
                                       .more = "Trace\n  x\x01\n",
                                       .more_len = 11};

static void
test_stamped_lines(void **state UNUSED)
{
    long pid = (long)getpid();
    log_set_up(LOG_STAMPED, LOG_LEVEL_INFO);
    assert_true(log_is_own());
    log_entry(&entry);
    log_output("i1", "a\x1b\n\nb", 5);
    log_output(NULL, "c\n", 2);
    capture_end(&capture, line, sizeof(line));
    log_set_up(LOG_PLAIN, LOG_LEVEL_INFO);
    assert_false(log_is_own());
    (void)snprintf(want, sizeof(want),
                   "TIME wsgi-cgi[%ld]: error: [i1] GET /\\x1b: it \"raised\"\n"
                   "[i1] Trace\n[i1]   x\\x01\n"
                   "TIME wsgi-cgi[%ld]: output: [i1] a\x1b\n"
                   "TIME wsgi-cgi[%ld]: output: [i1] \n"
                   "TIME wsgi-cgi[%ld]: output: [i1] b\n"
                   "TIME wsgi-cgi[%ld]: output: c\n",
                   pid, pid, pid, pid, pid);
    expect_stamped(want);
    assert_int_equal(fake.calls, 3);
}

static void
test_json_lines(void **state UNUSED)
{
    log_set_up(LOG_JSON, LOG_LEVEL_INFO);
    log_entry(&entry);
    log_notice("%s", "\xff");
    log_output("i1", "a\x1b\n\nb\n", 6);
    log_output(NULL, "c", 1);
    capture_end(&capture, line, sizeof(line));
    log_set_up(LOG_PLAIN, LOG_LEVEL_INFO);
    long pid = (long)getpid();
    (void)snprintf(
        want, sizeof(want),
        "{\"time\":\"TIME\",\"level\":\"error\",\"pid\":%ld,\"request_id\":"
        "\"i1\",\"request\":\"GET /\\u001b\",\"message\":\"it \\\"raised\\\"\","
        "\"traceback\":\"Trace\\n  x\\u0001\\n\"}\n"
        "{\"time\":\"TIME\",\"level\":\"notice\",\"pid\":%ld,\"message\":"
        "\"\\ufffd\"}\n"
        "{\"time\":\"TIME\",\"stream\":\"stderr\",\"pid\":%ld,\"request_id\":"
        "\"i1\",\"message\":\"a\\u001b\\n\\nb\"}\n"
        "{\"time\":\"TIME\",\"stream\":\"stderr\",\"pid\":%ld,\"message\":"
        "\"c\"}\n",
        pid, pid, pid, pid);
    expect_stamped(want);
    assert_int_equal(fake.calls, 4);
}

/* However much is printed at once, each piece is whole lines, or at least whole
 * characters. */
static void
test_output_in_pieces(void **state UNUSED)
{
    enum { PIECE = 64 * 1024 };
    static char text[3 * PIECE];
    memset(text, 'x', sizeof(text));
    text[PIECE - 10] = '\n';
    /* A character across the end of the second piece. */
    memcpy(text + PIECE - 9 + PIECE - 1, "\xe2\x82\xac", 3);
    log_set_up(LOG_STAMPED, LOG_LEVEL_INFO);
    log_output("i", text, 2 * PIECE + 100);
    log_set_up(LOG_PLAIN, LOG_LEVEL_INFO);
    capture_end(&capture, line, sizeof(line));
    assert_int_equal(fake.calls, 3);
    const char *second = strchr(line, '\n') + 1;
    const char *third = strchr(second, '\n') + 1;
    char head[100];
    int n = snprintf(head, sizeof head,
                     "....-..-..T..:..:......Z wsgi-cgi[%ld]: output: [i] ",
                     (long)getpid());
    assert_int_equal(second - line, n + PIECE - 9);
    assert_int_equal(third - second, n + PIECE - 1 + 1);
    assert_memory_equal(third + n - 4, "[i] \xe2\x82\xac", 7);
}

static void
test_errno_stays_and_percent_m_works(void **state UNUSED)
{
    errno = ENOENT;
    log_error("%m");
    assert_int_equal(errno, ENOENT);
    expect("error: No such file or directory");
}

static void
test_length_around_the_small_buffer(void **state UNUSED)
{
    for (size_t n = 510; n <= 514; n++) {
        char text[600];
        memset(text, 'x', n);
        text[n] = '\0';
        if (n > 510) {
            capture_start(&capture);
        }
        errno = EPERM;
        log_info("%s", text);
        assert_int_equal(errno, EPERM);
        char whole[700];
        (void)snprintf(whole, sizeof(whole), "info: %s", text);
        expect(whole);
    }
    assert_int_equal(fake.calls, 5);
}

static void
test_a_text_beyond_the_maximum_is_cut_and_says_so(void **state UNUSED)
{
    enum { MAX = 256 * 1024 };
    static char text[MAX + 10];
    static char whole[MAX + 100];
    for (size_t n = MAX - 1; n <= MAX + 1; n++) {
        memset(text, 'x', n);
        text[n] = '\0';
        if (n >= MAX) {
            capture_start(&capture);
        }
        log_error("%s", text);
        if (n > MAX) {
            memcpy(text + MAX - 4, " ...", 5);
        }
        (void)snprintf(whole, sizeof(whole), "error: %s", text);
        expect(whole);
    }
    assert_int_equal(fake.calls, 3);
}

static void
test_the_longest_text_of_control_characters_fits(void **state UNUSED)
{
    static char text[256 * 1024 + 1];
    memset(text, '\n', sizeof(text) - 1);
    log_error("%s", text);
    capture_end(&capture, line, sizeof(line));
    size_t n = strlen(line);
    assert_true(n > 4 * (sizeof(text) - 1));
    assert_string_equal(line + n - 5, "\\x0a\n");
    assert_null(strchr(line + 20, '\r'));
    assert_ptr_equal(strchr(line, '\n'), line + n - 1);
}

static void
test_eintr_and_partial_writes_lose_nothing(void **state UNUSED)
{
    fake.fail_first = 2;
    fake.error = EINTR;
    fake.at_most = 3;
    log_raw("0123456789\n", 11);
    capture_end(&capture, line, sizeof(line));
    assert_string_equal(line, "0123456789\n");
    assert_int_equal(fake.calls, 2 + 4);
}

static void
test_raw_bytes_are_written_as_they_are(void **state UNUSED)
{
    log_raw("\x1b[0m\xff\n", 6);
    capture_end(&capture, line, sizeof(line));
    assert_string_equal(line, "\x1b[0m\xff\n");
    assert_int_equal(fake.calls, 1);
}

static void
test_a_closed_stderr_is_no_error(void **state UNUSED)
{
    fake.fail_first = 1;
    fake.error = EPIPE;
    errno = ENOENT;
    log_error("lost");
    assert_int_equal(errno, ENOENT);
    capture_end(&capture, line, sizeof(line));
    assert_string_equal(line, "");
    assert_int_equal(fake.calls, 1);
}

static void *
read_slowly(void *arg)
{
    const int *fd = arg;
    size_t n = 0;
    char chunk[8192];
    ssize_t r;
    while ((r = read(*fd, chunk, sizeof(chunk))) > 0) {
        memcpy(line + n, chunk, (size_t)r);
        n += (size_t)r;
    }
    line[n] = '\0';
    return NULL;
}

static void
test_a_full_nonblocking_pipe_loses_nothing(void **state UNUSED)
{
    /* P14: the starter left O_NONBLOCK on fd 2. */
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_true(fcntl(ends[1], F_SETFL, O_NONBLOCK) >= 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    (void)close(ends[1]);
    static char text[1024 * 1024];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 2] = '\n';
    pthread_t reader;
    assert_int_equal(pthread_create(&reader, NULL, read_slowly, &ends[0]), 0);
    log_raw(text, sizeof(text) - 1);
    assert_true(dup2(capture.stderr_fd, STDERR_FILENO) >= 0);
    assert_int_equal(pthread_join(reader, NULL), 0);
    assert_string_equal(line, text);
    (void)close(ends[0]);
    (void)close(capture.stderr_fd);
    (void)close(capture.file_fd);
}

static void
test_format_adds_whole_lines_or_nothing(void **state UNUSED)
{
    char unused[2];
    capture_end(&capture, unused, sizeof(unused));
    (void)snprintf(want, sizeof(want), "wsgi-cgi[%ld]: notice: a\\x0ab\n",
                   (long)getpid());
    size_t length = strlen(want);
    for (size_t max = length - 1; max <= length + 1; max++) {
        struct buf b;
        buf_init(&b, max + 1);
        assert_int_equal(buf_add(&b, ">", 1), 0);
        int r = log_format(
            &b, LOG_PLAIN,
            &(struct log_entry){.level = LOG_LEVEL_NOTICE, .text = "a\nb"});
        assert_int_equal(r, max < length ? -EMSGSIZE : 0);
        assert_int_equal(b.len, max < length ? 1 : 1 + length);
        assert_memory_equal(b.data + 1, want, b.len - 1);
        buf_fini(&b);
    }
}

/* -- CGI: one pipe for the response and the log ------------------------------ */

static char to_syslog[4096];

static void
note_message(const char *format, va_list ap)
{
    size_t n = strlen(to_syslog);

    (void)vsnprintf(to_syslog + n, sizeof to_syslog - n, format, ap);
    n = strlen(to_syslog);
    (void)snprintf(to_syslog + n, sizeof to_syslog - n, "|");
}

/* In place of libc's, in both of its forms: the system's log stays clean. */
void syslog(int priority, const char *format, ...);
void __syslog_chk(int priority, int flag, const char *format, ...);

void
syslog(int priority UNUSED, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    note_message(format, ap);
    va_end(ap);
}

void
__syslog_chk(int priority UNUSED, int flag UNUSED, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    note_message(format, ap);
    va_end(ap);
}

static const char *current_id;

static const char *
give_id(void)
{
    return current_id;
}

static void
test_an_id_for_every_line(void **state UNUSED)
{
    log_set_id(give_id);
    current_id = "id";
    log_error("a\n%d", 1);
    log_set_id(NULL);
    expect("error: [id] a\\x0a1");
    capture_start(&capture);
    log_set_id(give_id);
    current_id = NULL;
    log_error("no request");
    log_set_id(NULL);
    expect("error: no request");
}

static void
test_lines_go_to_syslog(void **state UNUSED)
{
    log_to_syslog(true);
    log_raw("one\n\ntwo\nno end", 15);
    assert_int_equal(fake.calls, 0);
    log_to_syslog(false);
    log_raw("to fd 2\n", 8);
    assert_int_equal(fake.calls, 1);
    assert_string_equal(to_syslog, "one|two|no end|");
    capture_end(&capture, line, sizeof(line));
    assert_string_equal(line, "to fd 2\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_prefix_and_levels, setup),
        cmocka_unit_test_setup(test_control_characters_are_escaped, setup),
        cmocka_unit_test_setup(test_utf8_is_kept, setup),
        cmocka_unit_test_setup(test_c1_controls_are_escaped, setup),
        cmocka_unit_test_setup(test_errno_stays_and_percent_m_works, setup),
        cmocka_unit_test_setup(test_length_around_the_small_buffer, setup),
        cmocka_unit_test_setup(
            test_a_text_beyond_the_maximum_is_cut_and_says_so, setup),
        cmocka_unit_test_setup(test_the_longest_text_of_control_characters_fits,
                               setup),
        cmocka_unit_test_setup(test_eintr_and_partial_writes_lose_nothing,
                               setup),
        cmocka_unit_test_setup(test_raw_bytes_are_written_as_they_are, setup),
        cmocka_unit_test_setup(test_a_closed_stderr_is_no_error, setup),
        cmocka_unit_test_setup(test_a_full_nonblocking_pipe_loses_nothing,
                               setup),
        cmocka_unit_test_setup(test_an_id_for_every_line, setup),
        cmocka_unit_test_setup(test_what_is_not_utf8_is_escaped, setup),
        cmocka_unit_test_setup(test_levels, setup),
        cmocka_unit_test_setup(test_stamped_lines, setup),
        cmocka_unit_test_setup(test_json_lines, setup),
        cmocka_unit_test_setup(test_output_in_pieces, setup),
        cmocka_unit_test_setup(test_format_adds_whole_lines_or_nothing, setup),
        cmocka_unit_test_setup(test_lines_go_to_syslog, setup),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
