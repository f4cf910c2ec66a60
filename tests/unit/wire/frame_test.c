/* Frames: vectors written out by hand from the format, every truncation, every impossible size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/bytes.h"
#include "wire/frame.h"

enum { MAX = FRAME_MAX_MESSAGE + FRAME_OVERHEAD };

/* PING: type 18, field 18 empty. */
static const uint8_t ping[] = {0, 0, 0, 9, 0, 0, 0, 5, 0x08, 0x12, 0x92, 0x01, 0x00};

/* A command of two bytes; metaSize 2, metadata "md", payload "xyz". */
static const uint8_t with_checksum[] = {0, 0, 0, 21, 0, 0, 0, 2,   0x08, 0x06, 0x0e, 0x01, 0,
                                        0, 0, 0, 0,  0, 0, 2, 'm', 'd',  'x',  'y',  'z'};
static const uint8_t without_checksum[] = {0, 0, 0, 15, 0,   0,   0,   2,   0x08, 0x06,
                                           0, 0, 0, 2,  'm', 'd', 'x', 'y', 'z'};

static enum frame_status parse(const uint8_t *p, size_t len, struct frame *f)
{
    size_t need;
    const char *why;
    return frame_parse(p, len, MAX, f, &need, &why);
}

static void assert_bad(const uint8_t *p, size_t len, size_t max, const char *reason)
{
    struct frame f;
    size_t need;
    const char *why = NULL;
    assert_int_equal(frame_parse(p, len, max, &f, &need, &why), FRAME_BAD);
    assert_string_equal(why, reason);
}

static void test_simple_frame(void **state)
{
    (void)state;
    struct frame f;
    assert_int_equal(parse(ping, sizeof ping, &f), FRAME_OK);
    assert_ptr_equal(f.command, ping + 8);
    assert_int_equal(f.command_len, 5);
    assert_false(f.has_body);
    assert_int_equal(f.frame_len, sizeof ping);
}

static void test_body_with_checksum(void **state)
{
    (void)state;
    uint8_t p[sizeof with_checksum];
    memcpy(p, with_checksum, sizeof p);
    put_be32(p + 12, crc32c(0, p + 16, sizeof p - 16));
    struct frame f;
    assert_int_equal(parse(p, sizeof p, &f), FRAME_OK);
    assert_true(f.has_body && f.has_checksum);
    assert_ptr_equal(f.body, p + 16);
    assert_int_equal(f.body_len, 9);
    assert_true(frame_checksum_ok(&f));
    for (size_t i = 12; i < sizeof p; i++) { /* a flipped bit anywhere is noticed */
        p[i] ^= 0x10;
        assert_int_equal(parse(p, sizeof p, &f), FRAME_OK);
        assert_false(frame_checksum_ok(&f));
        p[i] ^= 0x10;
    }
}

static void test_body_of_old_client_has_no_checksum(void **state)
{
    (void)state;
    struct frame f;
    assert_int_equal(parse(without_checksum, sizeof without_checksum, &f), FRAME_OK);
    assert_true(f.has_body);
    assert_false(f.has_checksum);
    assert_ptr_equal(f.body, without_checksum + 10);
    assert_int_equal(f.body_len, 9);
    assert_true(frame_checksum_ok(&f));
}

static void test_bytes_of_the_next_frame_stay(void **state)
{
    (void)state;
    uint8_t two[2 * sizeof ping];
    memcpy(two, ping, sizeof ping);
    memcpy(two + sizeof ping, ping, sizeof ping);
    struct frame f;
    for (size_t len = sizeof ping; len <= sizeof two; len++) {
        assert_int_equal(parse(two, len, &f), FRAME_OK);
        assert_int_equal(f.frame_len, sizeof ping);
    }
}

static void test_every_truncation_is_partial_and_says_what_it_needs(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof with_checksum; len++) {
        struct frame f;
        size_t need = 0;
        const char *why = NULL;
        assert_int_equal(frame_parse(with_checksum, len, MAX, &f, &need, &why), FRAME_PARTIAL);
        assert_int_equal(need, len < 4 ? 8 : sizeof with_checksum);
    }
}

static void test_largest_frame_is_exact(void **state)
{
    (void)state;
    uint8_t p[8] = {0, 0, 0, 100, 0, 0, 0, 1};
    struct frame f;
    size_t need = 0;
    const char *why = NULL;
    assert_int_equal(frame_parse(p, 8, 100, &f, &need, &why), FRAME_PARTIAL);
    assert_int_equal(need, 104);
    assert_bad(p, 8, 99, "frame larger than allowed");
    assert_bad(p, 4, 99, "frame larger than allowed"); /* as soon as total is here */
}

static void test_impossible_sizes_are_refused_early(void **state)
{
    (void)state;
    uint8_t p[16] = {0};
    for (uint32_t total = 0; total <= 4; total++) {
        put_be32(p, total);
        assert_bad(p, 4, MAX, "frame too short for a command");
    }
    put_be32(p, 12);
    assert_bad(p, 8, MAX, "empty command");
    put_be32(p + 4, 9);
    assert_bad(p, 8, MAX, "command larger than its frame");
    put_be32(p + 4, UINT32_MAX);
    assert_bad(p, 8, MAX, "command larger than its frame");
    put_be32(p, UINT32_MAX);
    assert_bad(p, 8, MAX, "frame larger than allowed");
    assert_bad(p, 8, UINT32_MAX - 1u, "frame larger than allowed");
}

static void test_largest_sizes_do_not_wrap(void **state)
{
    (void)state;
    uint8_t p[8];
    put_be32(p, UINT32_MAX);
    put_be32(p + 4, UINT32_MAX - 4);
    struct frame f;
    size_t need = 0;
    const char *why = NULL;
    assert_int_equal(frame_parse(p, 8, SIZE_MAX, &f, &need, &why), FRAME_PARTIAL);
    assert_true(need == (size_t)UINT32_MAX + 4);
    put_be32(p + 4, UINT32_MAX - 3);
    assert_bad(p, 8, SIZE_MAX, "command larger than its frame");
}

static void test_body_cut_short_is_refused(void **state)
{
    (void)state;
    /* command of 2 bytes, then 1..9 bytes of something that is too short to be a body */
    uint8_t p[32] = {0, 0, 0, 0, 0, 0, 0, 2, 0x08, 0x06};
    for (uint32_t n = 1; n <= 3; n++) {
        put_be32(p, 6 + n);
        assert_bad(p, 10 + n, MAX, "frame ends before its metadata size");
    }
    p[10] = 0x0e;
    p[11] = 0x01;
    for (uint32_t n = 2; n <= 9; n++) {
        put_be32(p, 6 + n);
        assert_bad(p, 10 + n, MAX,
                   n < 6 ? "frame ends inside its checksum"
                         : "frame ends before its metadata size");
    }
    struct frame f;
    put_be32(p, 6 + 10); /* magic, CRC, metaSize and nothing else: a whole body */
    assert_int_equal(parse(p, 20, &f), FRAME_OK);
    assert_int_equal(f.body_len, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simple_frame),
        cmocka_unit_test(test_body_with_checksum),
        cmocka_unit_test(test_body_of_old_client_has_no_checksum),
        cmocka_unit_test(test_bytes_of_the_next_frame_stay),
        cmocka_unit_test(test_every_truncation_is_partial_and_says_what_it_needs),
        cmocka_unit_test(test_largest_frame_is_exact),
        cmocka_unit_test(test_impossible_sizes_are_refused_early),
        cmocka_unit_test(test_largest_sizes_do_not_wrap),
        cmocka_unit_test(test_body_cut_short_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
