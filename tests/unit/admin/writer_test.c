/* The writer's thread: in order, and everything before it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin/writer.h"

enum { N = 1000 };

struct task {
    struct writing writing; /* first */
    int number;
};
static int done[N], count;

static void run(struct writing *w)
{
    done[count++] = ((struct task *)w)->number;
}

static void test_all_that_was_posted_is_run_in_order_before_it_ends(void **state)
{
    (void)state;
    static struct task task[N];
    struct writer w;
    assert_int_equal(writer_start(&w), TG_OK);
    for (int i = 0; i < N; i++) {
        task[i] = (struct task){.writing.run = run, .number = i};
        writer_post(&w, &task[i].writing);
    }
    writer_stop(&w);
    assert_int_equal(count, N);
    for (int i = 0; i < N; i++)
        assert_int_equal(done[i], i);
}

static void test_it_ends_when_nothing_was_posted(void **state)
{
    (void)state;
    struct writer w;
    assert_int_equal(writer_start(&w), TG_OK);
    writer_stop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_that_was_posted_is_run_in_order_before_it_ends),
        cmocka_unit_test(test_it_ends_when_nothing_was_posted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
