/* The metadata scan: vectors by hand, then thousands of random bodies against protobuf-c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../../fuzz/wire_agree.h"
#include "random_pb.h"

enum { ROUNDS = 200000 };

/* metaSize 9; producer_name "p", sequence_id 5, publish_time 300; payload "hi". */
static const uint8_t smallest[] = {0,    0,    0,    8,    0x0a, 1,   'p',
                                   0x10, 0x05, 0x18, 0xac, 0x02, 'h', 'i'};

static void start_body(struct bytes *b)
{
    static const uint8_t size[4];
    b->len = 0;
    bytes_append(b, size, 4);
}

static void end_body(struct bytes *b)
{
    put_be32(b->data, (uint32_t)(b->len - 4));
}

static void start_valid(struct bytes *b)
{
    start_body(b);
    add_blob(b, 1, "p", 1);
    add_uint(b, 2, 5);
    add_uint(b, 3, 300);
}

static struct metadata_brief scan_ok(struct bytes *b)
{
    struct metadata_brief m;
    const char *why = NULL;
    end_body(b);
    assert_int_equal(metadata_scan(b->data, b->len, &m, &why), TG_OK);
    return m;
}

static void assert_refused(const uint8_t *p, size_t len, const char *reason)
{
    struct metadata_brief m;
    const char *why = NULL;
    assert_int_equal(metadata_scan(p, len, &m, &why), TG_EINVAL);
    assert_string_equal(why, reason);
}

static void test_smallest_body(void **state)
{
    (void)state;
    struct metadata_brief m;
    const char *why = NULL;
    assert_int_equal(metadata_scan(smallest, sizeof smallest, &m, &why), TG_OK);
    assert_int_equal(m.sequence_id, 5);
    assert_int_equal(m.publish_time_ms, 300);
    assert_int_equal(m.messages, 1);
    assert_false(m.is_batch || m.is_marker || m.is_encrypted || m.has_txn);
    assert_int_equal(m.chunk_id, -1);
    assert_int_equal(m.chunks, 0);
    assert_int_equal(m.metadata_off, 4);
    assert_int_equal(m.metadata_len, 8);
    assert_int_equal(m.payload_off, 12);
    assert_int_equal(m.payload_len, 2);
}

static void test_every_truncation_is_refused(void **state)
{
    (void)state;
    for (size_t len = 0; len < 12; len++)
        assert_refused(smallest, len,
                       len < 4 ? "no room for the metadata size"
                               : "metadata larger than its frame");
}

static void test_fields_that_matter_are_kept(void **state)
{
    (void)state;
    struct bytes b = {0};
    start_valid(&b);
    add_uint(&b, 8, 3);
    add_uint(&b, 9, 4096);
    add_uint(&b, 11, 100);
    add_uint(&b, 19, 1700);
    add_uint(&b, 20, 0);
    add_uint(&b, 22, 0);
    add_uint(&b, 23, 0);
    add_uint(&b, 24, 104);
    add_uint(&b, 27, 3);
    add_uint(&b, 29, 2);
    struct metadata_brief m = scan_ok(&b);
    assert_int_equal(m.compression, 3);
    assert_int_equal(m.uncompressed_size, 4096);
    assert_int_equal(m.messages, 100);
    assert_true(m.is_batch && m.is_marker && m.has_txn);
    assert_int_equal(m.deliver_at_ms, 1700);
    assert_int_equal(m.highest_sequence_id, 104);
    assert_int_equal(m.chunks, 3);
    assert_int_equal(m.chunk_id, 2);
    bytes_fini(&b);
}

static void test_a_batch_counts_at_least_one_message(void **state)
{
    (void)state;
    static const uint64_t counts[] = {0, UINT64_MAX, (uint64_t)INT64_MIN, 0x80000000u};
    struct bytes b = {0};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        start_valid(&b);
        add_uint(&b, 11, counts[i]);
        struct metadata_brief m = scan_ok(&b);
        assert_true(m.is_batch);
        assert_int_equal(m.messages, 1);
    }
    bytes_fini(&b);
}

static void test_last_value_wins(void **state)
{
    (void)state;
    struct bytes b = {0};
    start_valid(&b);
    add_uint(&b, 2, 77);
    add_uint(&b, 11, 4);
    add_uint(&b, 11, 9);
    struct metadata_brief m = scan_ok(&b);
    assert_int_equal(m.sequence_id, 77);
    assert_int_equal(m.messages, 9);
    bytes_fini(&b);
}

static void test_each_required_field_is_required(void **state)
{
    (void)state;
    struct bytes b = {0};
    for (uint32_t left_out = 1; left_out <= 3; left_out++) {
        start_body(&b);
        if (left_out != 1)
            add_blob(&b, 1, "p", 1);
        for (uint32_t n = 2; n <= 3; n++)
            if (n != left_out)
                add_uint(&b, n, 1);
        end_body(&b);
        assert_refused(b.data, b.len, "a required field of the metadata is missing");
    }
    bytes_fini(&b);
}

static void test_malformed_fields_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\x58\x80", 2},                                          /* endless varint */
        {"\x58\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12}, /* 11 bytes */
        {"\x32\x05"
         "abc",
         5},                                 /* beyond the end */
        {"\x32\xff\xff\xff\xff\x7f", 6},     /* 32 GiB */
        {"\x32\x80\x80\x80\x80\x80\x00", 7}, /* length of 6 bytes */
        {"\x43\x44", 2},                     /* a group */
        {"\x00\x01", 2},                     /* field 0 */
        {"\x59\x01\x02", 3},                 /* 64 bits, cut */
        {"\xff\xff\xff\xff\xff\x01\x00", 7}, /* key of 6 bytes */
    };
    struct bytes b = {0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        start_valid(&b);
        bytes_append(&b, bad[i].bytes, bad[i].len);
        end_body(&b);
        assert_refused(b.data, b.len, "malformed field in the metadata");
    }
    start_valid(&b);
    add_blob(&b, 11, "x", 1);
    end_body(&b);
    assert_refused(b.data, b.len, "a field of the metadata has the wrong form");
    start_valid(&b);
    add_blob(&b, 4, "\x0a\x01k", 3); /* a property without its value */
    end_body(&b);
    assert_refused(b.data, b.len, "a field of the metadata has the wrong form");
    bytes_fini(&b);
}

static void add_key_value(struct bytes *b, uint64_t *s, uint32_t number)
{
    struct bytes kv = {0};
    if (!one_in(s, 20))
        add_blob(&kv, 1, "key", rnd(s) % 4);
    add_blob(&kv, 2, "value", rnd(s) % 6);
    if (one_in(s, 10))
        add_noise(&kv, s, 4);
    add_blob(b, number, kv.data, kv.len);
    bytes_fini(&kv);
}

static void add_encryption_keys(struct bytes *b, uint64_t *s)
{
    struct bytes ek = {0};
    add_blob(&ek, 1, "key", 3);
    if (!one_in(s, 20))
        add_blob(&ek, 2, "\x01\x02", 2);
    if (one_in(s, 2))
        add_key_value(&ek, s, 3);
    add_blob(b, 13, ek.data, ek.len);
    bytes_fini(&ek);
}

static void add_indexes(struct bytes *b, uint64_t *s)
{
    struct bytes packed = {0};
    for (uint64_t n = rnd(s) % 5; n; n--)
        add_varint(&packed, rnd_value(s));
    add_blob(b, 31, packed.data, packed.len);
    add_uint(b, 31, rnd_value(s));
    bytes_fini(&packed);
}

static void random_field(struct bytes *b, uint64_t *s)
{
    static const uint8_t ints[] = {2,  3,  8,  9,  11, 12, 17, 19, 20, 22,
                                   23, 24, 25, 27, 28, 29, 30, 33, 34};
    static const uint8_t blobs[] = {1, 5, 6, 7, 14, 15, 16, 18, 26, 32};
    switch (rnd(s) % 16) {
    case 0:
        add_key_value(b, s, 4);
        break;
    case 1:
        add_encryption_keys(b, s);
        break;
    case 2:
        add_indexes(b, s);
        break;
    case 3:
    case 4:
    case 5:
        add_blob(b, blobs[rnd(s) % sizeof blobs], "some text here", rnd(s) % 15);
        break;
    case 6:
        if (one_in(s, 2))
            add_noise(b, s, one_in(s, 2) ? 40 : 100000);
        break;
    default:
        add_uint(b, ints[rnd(s) % sizeof ints], rnd_value(s));
        break;
    }
}

static void test_agrees_with_protobuf_c(void **state)
{
    (void)state;
    uint64_t s = 20240501;
    int accepted = 0;
    struct bytes b = {0};
    for (int i = 0; i < ROUNDS; i++) {
        start_valid(&b);
        for (uint64_t n = rnd(&s) % 8; n; n--)
            random_field(&b, &s);
        end_body(&b);
        bytes_append(&b, "payload", rnd(&s) % 8);
        damage(&b, &s, one_in(&s, 4) ? 0 : 4);
        bool both = false;
        const char *differ = agree_on_metadata(b.data, b.len, &both);
        if (differ)
            fail_msg("round %d: %s", i, differ);
        accepted += both;
    }
    bytes_fini(&b);
    assert_in_range(accepted, ROUNDS / 10, ROUNDS - ROUNDS / 10); /* both answers were tried */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smallest_body),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_fields_that_matter_are_kept),
        cmocka_unit_test(test_a_batch_counts_at_least_one_message),
        cmocka_unit_test(test_last_value_wins),
        cmocka_unit_test(test_each_required_field_is_required),
        cmocka_unit_test(test_malformed_fields_are_refused),
        cmocka_unit_test(test_agrees_with_protobuf_c),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
