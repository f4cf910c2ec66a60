/* Growable byte strings and big-endian integers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"

static void test_append_keeps_everything_while_growing(void **state)
{
    (void)state;
    struct bytes b = {0};
    for (int i = 0; i < 10000; i++) {
        uint8_t c = (uint8_t)(i * 7);
        bytes_append(&b, &c, 1);
    }
    assert_int_equal(b.len, 10000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(b.data[i], (uint8_t)(i * 7));
    bytes_append(&b, NULL, 0);
    assert_int_equal(b.len, 10000);
    bytes_fini(&b);
}

static void test_reserve_makes_room_but_keeps_len(void **state)
{
    (void)state;
    struct bytes b = {0};
    bytes_append(&b, "abc", 3);
    uint8_t *at = bytes_reserve(&b, 100000);
    assert_int_equal(b.len, 3);
    assert_true(b.cap - b.len >= 100000);
    assert_ptr_equal(at, b.data + 3);
    memset(at, 'x', 100000);
    assert_memory_equal(b.data, "abcxx", 5);
    bytes_fini(&b);
}

static void test_printf_appends_and_terminates(void **state)
{
    (void)state;
    struct bytes b = {0};
    bytes_printf(&b, "%s=%d", "rate", 10);
    bytes_printf(&b, "%s", "");
    bytes_printf(&b, ";%0*d", 300, 7);
    assert_int_equal(b.len, 7 + 1 + 300);
    assert_memory_equal(b.data, "rate=10;000", 11);
    assert_int_equal(b.data[b.len - 1], '7');
    assert_int_equal(b.data[b.len], 0);
    bytes_fini(&b);
}

static void test_fini_leaves_it_usable(void **state)
{
    (void)state;
    struct bytes b = {0};
    bytes_append(&b, "abc", 3);
    bytes_fini(&b);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.cap, 0);
    bytes_append(&b, "de", 2);
    assert_memory_equal(b.data, "de", 2);
    bytes_fini(&b);
    bytes_fini(&b);
}

static void test_integers_are_big_endian_at_any_address(void **state)
{
    (void)state;
    uint8_t p[8] = {0};
    put_be32(p + 1, 0x01020304);
    put_be16(p + 5, 0x0e01);
    static const uint8_t want[] = {0, 1, 2, 3, 4, 0x0e, 0x01, 0};
    assert_memory_equal(p, want, 8);
    assert_int_equal(get_be32(p + 1), 0x01020304);
    assert_int_equal(get_be16(p + 5), 0x0e01);
}

static void test_text_is_cut_between_characters(void **state)
{
    (void)state;
    assert_int_equal(bytes_of_text("", 5), 0);
    assert_int_equal(bytes_of_text("abc", 5), 3);
    assert_int_equal(bytes_of_text("abc", 3), 3);
    assert_int_equal(bytes_of_text("abcd", 3), 3);
    assert_int_equal(bytes_of_text("a\u00fc\u00fc", 3), 3);
    assert_int_equal(bytes_of_text("a\u00fc\u00fc", 4), 3);
    assert_int_equal(bytes_of_text("a\u00fc\u00fc", 5), 5);
    assert_int_equal(bytes_of_text("a\U0001f600", 4), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_keeps_everything_while_growing),
        cmocka_unit_test(test_reserve_makes_room_but_keeps_len),
        cmocka_unit_test(test_printf_appends_and_terminates),
        cmocka_unit_test(test_fini_leaves_it_usable),
        cmocka_unit_test(test_text_is_cut_between_characters),
        cmocka_unit_test(test_integers_are_big_endian_at_any_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
