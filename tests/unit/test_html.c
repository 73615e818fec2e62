/*
 * test_html.c - text/html: whatever the bytes are, text and nothing else
 */
#include "unit.h"

#include "text/html.h"

static void
expect(const char *text, size_t n, const char *line, const char *lines)
{
    struct buf b;
    struct text_writer w = {.out = &b};

    buf_init(&b, 1000);
    html_line(&w, text);
    assert_int_equal(w.err, 0);
    assert_int_equal(b.len, strlen(line));
    assert_memory_equal(b.data, line, b.len);
    b.len = 0;
    html_lines(&w, text, n);
    assert_int_equal(w.err, 0);
    assert_int_equal(b.len, strlen(lines));
    assert_memory_equal(b.data, lines, b.len);
    buf_fini(&b);
}

static void
test_escaping(void **state UNUSED)
{
    static const struct {
        const char *text, *line, *lines;
    } rows[] = {
        {"plain", "plain", "plain"},
        {"<a b='1' c=\"2\">&amp;</a>",
         "&lt;a b=&#39;1&#39; c=&quot;2&quot;&gt;&amp;amp;&lt;/a&gt;",
         "&lt;a b=&#39;1&#39; c=&quot;2&quot;&gt;&amp;amp;&lt;/a&gt;"},
        {"a\n\tb", "a&#xfffd;&#xfffd;b", "a\n\tb"},
        {"\x1b[m\x7f", "&#xfffd;[m&#xfffd;", "\\x1b[m\\x7f"},
        {"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80<",
         "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80&lt;",
         "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80&lt;"},
        {"\xff-\xc3<", "&#xfffd;-&#xfffd;&lt;", "\\xff-\\xc3&lt;"},
        {"\xed\xa0\x80", "&#xfffd;&#xfffd;&#xfffd;", "\\xed\\xa0\\x80"},
    };
    struct buf b;
    struct text_writer w = {.out = &b};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        expect(rows[i].text, strlen(rows[i].text), rows[i].line, rows[i].lines);
    }
    expect("", 0, "", "");
    buf_init(&b, 1000);
    html_lines(&w, "a\0b\xe2\x82\xac", 5); /* half a euro sign */
    assert_int_equal(w.err, 0);
    assert_int_equal(buf_add(&b, "", 1), 0);
    assert_string_equal(b.data, "a\\x00b\\xe2\\x82");
    buf_fini(&b);
}

/* The style sheet is whole: its first and last rules are there. */
static void
test_frame(void **state UNUSED)
{
    struct buf b;
    struct text_writer w = {.out = &b};

    buf_init(&b, 1 << 16);
    html_begin(&w, 7);
    html_line(&w, "t");
    html_begin_body(&w, "debug");
    assert_int_equal(w.err, 0);
    assert_int_equal(buf_add(&b, "", 1), 0);
    assert_non_null(strstr(b.data, "<meta http-equiv=refresh content=7>"));
    assert_non_null(strstr(b.data, "<title>t</title><style>:root{"));
    assert_non_null(strstr(b.data, ",\"DejaVu Sans Mono\",monospace;}"));
    assert_non_null(strstr(b.data, ".source i{width:2.6rem;padding-right:.6rem}"
                                   "}</style></head>\n<body class=debug>"));
    assert_null(strstr(b.data, "/*"));
    size_t open = 0, closed = 0;
    for (const char *p = b.data; *p != '\0'; p++) {
        open += *p == '{';
        closed += *p == '}';
    }
    assert_true(open > 50);
    assert_int_equal(open, closed);
    buf_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escaping),
        cmocka_unit_test(test_frame),
    };
    return cmocka_run_group_tests_name("html", tests, NULL, NULL);
}
