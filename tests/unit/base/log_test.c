/* The log: one line per event whatever is in it, levels, and the gate that limits a noisy place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mono.h"

enum { CAPTURE = 8192 };

static int saved_stderr;
static int pipe_read;

static void capture(void)
{
    int p[2];
    assert_int_equal(pipe(p), 0);
    fflush(stderr);
    saved_stderr = dup(STDERR_FILENO);
    dup2(p[1], STDERR_FILENO);
    close(p[1]);
    pipe_read = p[0];
}

static void captured(char out[CAPTURE])
{
    dup2(saved_stderr, STDERR_FILENO); /* closes the last writing end */
    close(saved_stderr);
    size_t n = 0;
    for (ssize_t r; (r = read(pipe_read, out + n, CAPTURE - 1 - n)) > 0;)
        n += (size_t)r;
    out[n] = 0;
    close(pipe_read);
}

static void test_a_line_has_time_level_and_text(void **state)
{
    (void)state;
    char out[CAPTURE];
    capture();
    log_warn("conn %d: %s", 17, "closed");
    captured(out);
    int y, mo, d, h, mi, s, ms, end = 0;
    assert_int_equal(sscanf(out, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ warn  conn 17: closed%n", &y, &mo,
                            &d, &h, &mi, &s, &ms, &end),
                     7);
    assert_string_equal(out + end, "\n");
}

static void test_names_from_clients_do_not_break_the_line(void **state)
{
    (void)state;
    char out[CAPTURE];
    capture();
    log_error("topic %s", "a\nb\rc\x1b[31m\td");
    captured(out);
    assert_non_null(strstr(out, "topic a?b?c?[31m?d\n"));
    assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
}

static void test_a_long_line_is_cut_and_still_ends(void **state)
{
    (void)state;
    char out[CAPTURE], text[6000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    capture();
    log_error("%s", text);
    captured(out);
    assert_in_range(strlen(out), 1000, 2048);
    assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
}

static void test_lines_below_the_level_are_left_out(void **state)
{
    (void)state;
    char out[CAPTURE];
    capture();
    log_debug("one");
    log_set_level(LOG_ERROR);
    log_warn("two");
    log_error("three");
    log_set_level(LOG_DEBUG);
    log_debug("four");
    log_set_level(LOG_INFO);
    captured(out);
    assert_null(strstr(out, "one"));
    assert_null(strstr(out, "two"));
    assert_non_null(strstr(out, "three"));
    assert_non_null(strstr(out, "four"));
}

static void test_level_words(void **state)
{
    (void)state;
    enum log_level l;
    assert_int_equal(log_level_parse("debug", &l), TG_OK);
    assert_int_equal(l, LOG_DEBUG);
    assert_int_equal(log_level_parse("error", &l), TG_OK);
    assert_int_equal(l, LOG_ERROR);
    assert_int_equal(log_level_parse("loud", &l), TG_EINVAL);
    assert_int_equal(log_level_parse("", &l), TG_EINVAL);
}

static void test_gate_lets_a_burst_through_each_second(void **state)
{
    (void)state;
    struct log_gate g = {0};
    uint32_t suppressed = 99;
    int64_t now_ns = 5 * MONO_S;
    for (int i = 0; i < 3; i++) {
        assert_true(log_gate_open(&g, 3, now_ns, &suppressed));
        assert_int_equal(suppressed, 0);
    }
    for (int i = 0; i < 10; i++)
        assert_false(log_gate_open(&g, 3, now_ns + MONO_S - 1, &suppressed));
    assert_true(log_gate_open(&g, 3, now_ns + MONO_S, &suppressed));
    assert_int_equal(suppressed, 10);
    assert_true(log_gate_open(&g, 3, now_ns + MONO_S, &suppressed));
    assert_int_equal(suppressed, 0); /* said once */
}

static void test_gate_says_once_what_the_last_second_kept_back(void **state)
{
    (void)state;
    struct log_gate g = {0};
    uint32_t suppressed;
    for (int i = 0; i < 10; i++)
        (void)log_gate_open(&g, 3, MONO_S, &suppressed);
    assert_int_equal(log_gate_kept_back(&g, 2 * MONO_S - 1), 0); /* more may come */
    assert_int_equal(log_gate_kept_back(&g, 2 * MONO_S), 7);
    assert_int_equal(log_gate_kept_back(&g, 2 * MONO_S), 0);
    assert_true(log_gate_open(&g, 3, 2 * MONO_S, &suppressed));
    assert_int_equal(suppressed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_has_time_level_and_text),
        cmocka_unit_test(test_names_from_clients_do_not_break_the_line),
        cmocka_unit_test(test_a_long_line_is_cut_and_still_ends),
        cmocka_unit_test(test_lines_below_the_level_are_left_out),
        cmocka_unit_test(test_level_words),
        cmocka_unit_test(test_gate_lets_a_burst_through_each_second),
        cmocka_unit_test(test_gate_says_once_what_the_last_second_kept_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
