/* The file of lines: what is added is written, it is bounded and rotated, goes on over a restart,
 * and drops (and counts) what the disk does not take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/line_file.h"

static char dir[] = "/tmp/line_file_test.XXXXXX";

static char *path_of(const char *name)
{
    return xasprintf("%s/%s", dir, name);
}

static struct line_file *opened(const char *path, uint64_t max_bytes)
{
    struct line_file *f;
    char *why = NULL;
    if (line_file_open(&f, path, max_bytes, &why) != TG_OK)
        fail_msg("%s", why);
    return f;
}

static long size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (long)st.st_size : -1;
}

static void expect_text(const char *path, const char *text)
{
    char got[256] = "";
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(got, 1, sizeof got - 1, f);
    fclose(f);
    got[n] = '\0';
    assert_string_equal(got, text);
}

static void test_lines_are_written_in_order_and_kept_over_a_restart(void **state)
{
    (void)state;
    char *path = path_of("a");
    struct line_file *f = opened(path, 1000);
    line_file_add(f, "one");
    line_file_add(f, "two");
    line_file_close(f);
    f = opened(path, 1000);
    line_file_add(f, "three");
    assert_int_equal(line_file_dropped(f), 0);
    line_file_close(f);
    expect_text(path, "one\ntwo\nthree\n");
    free(path);
}

static void test_at_half_of_its_bound_it_is_begun_anew(void **state)
{
    (void)state;
    char *path = path_of("b"), *older = path_of("b.1");
    char line[101];
    memset(line, 'x', 100);
    line[100] = '\0';
    for (int i = 0; i < 50; i++) { /* one at a time: what waits together is written together */
        struct line_file *f = opened(path, 1000);
        line_file_add(f, line);
        line_file_close(f);
        assert_in_range(size_of(path), 101, 500);
    }
    assert_in_range(size_of(older), 101, 500);
    free(path);
    free(older);
}

static void test_what_can_not_be_written_is_dropped_and_counted(void **state)
{
    (void)state;
    struct line_file *f = opened("/dev/full", 1000);
    line_file_add(f, "lost");
    for (int i = 0; i < 5000 && line_file_dropped(f) == 0; i++)
        usleep(1000);
    assert_int_equal(line_file_dropped(f), 1);
    line_file_close(f);
}

static void test_a_place_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    struct line_file *f;
    char *why = NULL, *path = path_of("no/such");
    assert_int_equal(line_file_open(&f, path, 1000, &why), TG_EIO);
    assert_non_null(strstr(why, path));
    free(why);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_are_written_in_order_and_kept_over_a_restart),
        cmocka_unit_test(test_at_half_of_its_bound_it_is_begun_anew),
        cmocka_unit_test(test_what_can_not_be_written_is_dropped_and_counted),
        cmocka_unit_test(test_a_place_that_is_not_there_is_an_error),
    };
    if (mkdtemp(dir) == NULL)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char *command = xasprintf("rm -rf %s", dir);
    if (system(command) != 0)
        failed++;
    free(command);
    return failed;
}
