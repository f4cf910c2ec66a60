/* Batches: a vector by hand, sizes that lie, and single metadata against protobuf-c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../../fuzz/wire_agree.h"
#include "random_pb.h"

enum { ROUNDS = 100000 };

/* payload_size 2, sequence_id 9, "ab"; then payload_size 0, compacted_out. */
static const uint8_t two[] = {0, 0, 0, 4, 0x18, 2, 0x40, 9, 'a', 'b', 0, 0, 0, 4, 0x18, 0, 0x20, 1};

static void test_steps_through_all_messages(void **state)
{
    (void)state;
    struct batch_cursor c;
    struct batch_message m;
    batch_start(&c, two, sizeof two, 2);
    assert_int_equal(batch_next(&c, &m), TG_OK);
    assert_int_equal(m.payload_len, 2);
    assert_memory_equal(m.payload, "ab", 2);
    assert_true(m.has_sequence_id);
    assert_int_equal(m.sequence_id, 9);
    assert_false(m.compacted_out);
    assert_int_equal(batch_next(&c, &m), TG_OK);
    assert_int_equal(m.payload_len, 0);
    assert_false(m.has_sequence_id);
    assert_true(m.compacted_out);
    assert_int_equal(batch_next(&c, &m), TG_ENOENT);
    assert_int_equal(c.left_bytes, 0);
}

static void test_the_count_decides_how_many(void **state)
{
    (void)state;
    struct batch_cursor c;
    struct batch_message m;
    batch_start(&c, two, sizeof two, 1);
    assert_int_equal(batch_next(&c, &m), TG_OK);
    assert_int_equal(batch_next(&c, &m), TG_ENOENT);
    assert_int_equal(c.left_bytes, 8);
    batch_start(&c, two, sizeof two, 3); /* more than there are */
    assert_int_equal(batch_next(&c, &m), TG_OK);
    assert_int_equal(batch_next(&c, &m), TG_OK);
    assert_int_equal(batch_next(&c, &m), TG_EINVAL);
    batch_start(&c, two, sizeof two, -1);
    assert_int_equal(batch_next(&c, &m), TG_ENOENT);
}

static void test_every_truncation_is_refused(void **state)
{
    (void)state;
    for (size_t len = 0; len < 10; len++) {
        struct batch_cursor c;
        struct batch_message m;
        batch_start(&c, two, len, 1);
        assert_int_equal(batch_next(&c, &m), TG_EINVAL);
        assert_int_equal(batch_next(&c, &m), TG_EINVAL); /* and stays so */
    }
}

static void test_payload_size_is_required_and_not_negative(void **state)
{
    (void)state;
    static const uint8_t none[] = {0, 0, 0, 2, 0x40, 9, 'a'};
    static const uint8_t minus_one[] = {0,    0,    0,    11,   0x18, 0xff, 0xff, 0xff,
                                        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 'a'};
    struct batch_cursor c;
    struct batch_message m;
    batch_start(&c, none, sizeof none, 1);
    assert_int_equal(batch_next(&c, &m), TG_EINVAL);
    batch_start(&c, minus_one, sizeof minus_one, 1);
    assert_int_equal(batch_next(&c, &m), TG_EINVAL);
}

static void random_single(struct bytes *b, uint64_t *s)
{
    static const uint8_t numbers[] = {3, 4, 5, 6, 8, 9, 10};
    static const uint8_t property[] = {0x0a, 1, 'k', 0x12, 1, 'v'};
    static const uint8_t size[4];
    b->len = 0;
    bytes_append(b, size, 4);
    for (uint64_t n = rnd(s) % 5; n; n--) {
        uint8_t number = numbers[rnd(s) % sizeof numbers];
        add_uint(b, number, number == 3 ? rnd(s) % 12 : rnd_value(s));
    }
    if (one_in(s, 3))
        add_blob(b, 1, property, one_in(s, 8) ? 3 : sizeof property);
    if (one_in(s, 3))
        add_blob(b, one_in(s, 2) ? 2 : 7, "key", 3);
    if (one_in(s, 6))
        add_noise(b, s, 12);
    if (!one_in(s, 8))
        add_uint(b, 3, rnd(s) % 10);
    put_be32(b->data, (uint32_t)(b->len - 4));
    bytes_append(b, "payloads", 8);
    damage(b, s, one_in(s, 4) ? 0 : 4);
}

static void test_agrees_with_protobuf_c(void **state)
{
    (void)state;
    uint64_t s = 77;
    int accepted = 0;
    struct bytes b = {0};
    for (int i = 0; i < ROUNDS; i++) {
        random_single(&b, &s);
        bool both = false;
        const char *differ = agree_on_single(b.data, b.len, &both);
        if (differ)
            fail_msg("round %d: %s", i, differ);
        accepted += both;
    }
    bytes_fini(&b);
    assert_in_range(accepted, ROUNDS / 10, ROUNDS - ROUNDS / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_through_all_messages),
        cmocka_unit_test(test_the_count_decides_how_many),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_payload_size_is_required_and_not_negative),
        cmocka_unit_test(test_agrees_with_protobuf_c),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
