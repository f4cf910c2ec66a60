/* CRC-32C: published check values, chaining, and all ways against a bit-by-bit reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/crc32c_impl.h"

enum { AREA = 16 * 1024 };

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static void fill(uint8_t *p, size_t n)
{
    uint64_t s = 88172645463325252u;
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)next_random(&s);
}

static uint32_t by_bits(uint32_t crc, const uint8_t *p, size_t len)
{
    uint32_t c = ~crc;
    for (size_t i = 0; i < len; i++) {
        c ^= p[i];
        for (int b = 0; b < 8; b++)
            c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0);
    }
    return ~c;
}

static void test_known_answers(void **state)
{
    (void)state;
    uint8_t zeros[32] = {0}, ones[32], rising[32];
    memset(ones, 0xff, sizeof ones);
    for (int i = 0; i < 32; i++)
        rising[i] = (uint8_t)i;
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aa); /* the four of RFC 3720 B.4 */
    assert_int_equal(crc32c(0, ones, 32), 0x62a8ab43);
    assert_int_equal(crc32c(0, rising, 32), 0x46dd794e);
    assert_int_equal(crc32c(0, "", 0), 0);
    assert_int_equal(crc32c(0x12345678, "", 0), 0x12345678);
}

static void test_chaining_equals_one_go(void **state)
{
    (void)state;
    static uint8_t area[AREA];
    fill(area, AREA);
    uint32_t whole = crc32c(0, area, AREA);
    for (size_t cut = 0; cut <= AREA; cut += 97)
        assert_int_equal(crc32c(crc32c(0, area, cut), area + cut, AREA - cut), whole);
}

static void test_every_length_around_the_lanes(void **state)
{
    (void)state;
    static uint8_t area[AREA];
    fill(area, AREA);
    for (size_t len = 0; len < 4200; len += len < 1200 ? 1 : 37) {
        uint32_t want = by_bits(7, area, len);
        assert_int_equal(crc32c_soft(7, area, len), want);
        assert_int_equal(crc32c(7, area, len), want);
    }
}

typedef uint32_t one_way(uint32_t crc, const void *p, size_t len);

static void equals_tables(one_way *way)
{
    static uint8_t area[AREA];
    fill(area, AREA);
    uint64_t s = 42;
    for (int i = 0; i < 20000; i++) {
        size_t off = next_random(&s) % 64;
        size_t len = next_random(&s) % (i % 8 ? 2000 : AREA - 64);
        uint32_t start = (uint32_t)next_random(&s);
        assert_int_equal(way(start, area + off, len), crc32c_soft(start, area + off, len));
    }
}

static void test_hardware_equals_tables(void **state)
{
    (void)state;
    if (!crc32c_hw_usable())
        skip();
    equals_tables(crc32c_hw);
}

static void test_wide_equals_tables(void **state)
{
    (void)state;
    if (!crc32c_wide_usable())
        skip();
    equals_tables(crc32c_wide);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_chaining_equals_one_go),
        cmocka_unit_test(test_every_length_around_the_lanes),
        cmocka_unit_test(test_hardware_equals_tables),
        cmocka_unit_test(test_wide_equals_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
