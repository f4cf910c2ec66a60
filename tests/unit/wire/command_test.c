/* Commands: vectors by hand, the checks beyond protobuf-c, and the codecs by hand against it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../../fuzz/wire_agree.h"
#include "random_pb.h"
#include "wire/arena.h"
#include "wire/pb.h"

enum { ROUNDS = 200000 };

static const uint8_t send[] = {0x08, 6, 0x32, 4, 0x08, 3, 0x10, 41};
static const uint8_t flow[] = {0x08, 11, 0x5a, 5, 0x08, 1, 0x10, 0xe8, 0x07};

static int new_arena(void **state)
{
    *state = arena_new();
    return 0;
}

static int free_arena(void **state)
{
    arena_free(*state);
    return 0;
}

#define WITH_ARENA(test) cmocka_unit_test_setup_teardown(test, new_arena, free_arena)

static void test_flow_by_hand(void **state)
{
    const Pulsar__Proto__BaseCommand *c = command_unpack(*state, flow, sizeof flow);
    assert_non_null(c);
    assert_int_equal(c->type, PULSAR__PROTO__BASE_COMMAND__TYPE__FLOW);
    assert_int_equal(c->flow->consumer_id, 1);
    assert_int_equal(c->flow->messagepermits, 1000);
    assert_int_equal(command_frame_len(c), sizeof flow + 8);
    uint8_t out[sizeof flow + 8];
    command_frame_write(c, out);
    static const uint8_t head[8] = {0, 0, 0, 13, 0, 0, 0, 9};
    assert_memory_equal(out, head, 8);
    assert_memory_equal(out + 8, flow, sizeof flow);
}

static void test_defaults_are_those_of_the_protocol(void **state)
{
    struct bytes b = {0}, sub = {0};
    add_blob(&sub, 1, "t", 1);
    add_blob(&sub, 2, "s", 1);
    add_uint(&sub, 3, 0);
    add_uint(&sub, 4, 1);
    add_uint(&sub, 5, 2);
    add_uint(&b, 1, 4);
    add_blob(&b, 4, sub.data, sub.len);
    const Pulsar__Proto__BaseCommand *c = command_unpack(*state, b.data, b.len);
    assert_non_null(c);
    assert_true(c->subscribe->durable && c->subscribe->force_topic_creation);
    assert_int_equal(c->subscribe->initialposition,
                     PULSAR__PROTO__COMMAND_SUBSCRIBE__INITIAL_POSITION__Latest);
    assert_string_equal(c->subscribe->topic, "t");
    bytes_fini(&b);
    bytes_fini(&sub);
}

static void test_type_and_sub_message_must_fit(void **state)
{
    static const uint8_t unknown_type[] = {0x08, 69};
    static const uint8_t unknown_with_send[] = {0x08, 69, 0x32, 4, 0x08, 3, 0x10, 41};
    static const uint8_t no_sub_message[] = {0x08, 18};
    static const uint8_t wrong_sub_message[] = {0x08, 18, 0x9a, 0x01, 0};
    static const uint8_t one_too_many[] = {0x08, 18, 0x92, 0x01, 0, 0x9a, 0x01, 0};
    static const uint8_t no_type[] = {0x92, 0x01, 0};
    static const uint8_t required_missing[] = {0x08, 11, 0x5a, 2, 0x08, 1};
    static const uint8_t unknown_field[] = {0x08, 18, 0x92, 0x01, 0, 0xc2, 0x3e, 1, 'x'};
    assert_null(command_unpack(*state, unknown_type, sizeof unknown_type));
    assert_null(command_unpack(*state, unknown_with_send, sizeof unknown_with_send));
    assert_null(command_unpack(*state, no_sub_message, sizeof no_sub_message));
    assert_null(command_unpack(*state, wrong_sub_message, sizeof wrong_sub_message));
    assert_null(command_unpack(*state, one_too_many, sizeof one_too_many));
    assert_null(command_unpack(*state, no_type, sizeof no_type));
    assert_null(command_unpack(*state, required_missing, sizeof required_missing));
    assert_null(command_unpack(*state, send, 0));
    assert_non_null(command_unpack(*state, unknown_field, sizeof unknown_field));
}

static void test_every_truncation_is_refused(void **state)
{
    struct send_brief b;
    for (size_t len = 0; len < sizeof flow; len++)
        assert_null(command_unpack(*state, flow, len));
    for (size_t len = 0; len < sizeof send; len++)
        assert_int_equal(command_parse_send(send, len, &b), TG_EINVAL);
}

static void test_peek_type(void **state)
{
    (void)state;
    static const uint8_t type_last[] = {0x92, 0x01, 0, 0x08, 18};
    static const uint8_t none[] = {0x92, 0x01, 0};
    static const uint8_t cut[] = {0x08, 18, 0x92};
    assert_int_equal(command_peek_type(send, sizeof send), 6);
    assert_int_equal(command_peek_type(type_last, sizeof type_last), 18);
    assert_int_equal(command_peek_type(none, sizeof none), 0);
    assert_int_equal(command_peek_type(cut, sizeof cut), 0);
    assert_string_equal(command_type_name(6), "SEND");
    assert_string_equal(command_type_name(81), "WATCH_TC_ASSIGNMENTS_CLOSE");
    assert_string_equal(command_type_name(69), "unknown");
    assert_string_equal(command_type_name(-1), "unknown");
}

/* A command whose field 3 (SEEK) or 9 (SEND) is a message id <levels> deep. */
static void nested(struct bytes *b, uint32_t type, uint32_t id_field, int levels)
{
    struct bytes id = {0}, sub = {0};
    for (int i = 0; i < levels; i++) {
        struct bytes outer = {0};
        add_uint(&outer, 1, 1);
        add_uint(&outer, 2, 1);
        if (i > 0)
            add_blob(&outer, 7, id.data, id.len);
        bytes_fini(&id);
        id = outer;
    }
    add_uint(&sub, 1, 1);
    add_uint(&sub, 2, 2);
    add_blob(&sub, id_field, id.data, id.len);
    b->len = 0;
    add_uint(b, 1, type);
    add_blob(b, type, sub.data, sub.len);
    bytes_fini(&id);
    bytes_fini(&sub);
}

static void nested_seek(struct bytes *b, int levels)
{
    nested(b, PULSAR__PROTO__BASE_COMMAND__TYPE__SEEK, 3, levels);
}

static void test_deep_nesting_is_refused_before_it_uses_up_the_stack(void **state)
{
    struct bytes b = {0};
    nested_seek(&b, 2);
    assert_non_null(command_unpack(*state, b.data, b.len));
    nested_seek(&b, PB_DEPTH_MAX - 2); /* the command and SEEK are levels too */
    assert_non_null(command_unpack(*state, b.data, b.len));
    nested_seek(&b, PB_DEPTH_MAX - 1);
    assert_true(b.len >= PB_DEEP_BYTES);
    assert_null(command_unpack(*state, b.data, b.len));
    nested_seek(&b, 20000);
    assert_null(command_unpack(*state, b.data, b.len));
    bytes_fini(&b);
}

static void test_a_command_of_tiny_fields_does_not_eat_memory(void **state)
{
    struct bytes b = {0};
    for (int i = 0; i < 1000000; i++)
        bytes_append(&b, "\x98\x06\x00", 3); /* unknown field 99 */
    bytes_append(&b, flow, sizeof flow);
    assert_null(command_unpack(*state, b.data, b.len));
    assert_in_range(arena_held_bytes(*state), 1, 16 * 1024 * 1024);
    arena_reset(*state);
    assert_in_range(arena_held_bytes(*state), 1, 64 * 1024);
    assert_non_null(command_unpack(*state, flow, sizeof flow));
    bytes_fini(&b);
}

static void test_an_ack_of_a_full_window_fits_the_arena(void **state)
{
    struct bytes b = {0}, ack = {0}, id = {0};
    add_uint(&ack, 1, 1);
    add_uint(&ack, 2, 0);
    for (uint64_t i = 0; i < 50000; i++) {
        id.len = 0;
        add_uint(&id, 1, 1000);
        add_uint(&id, 2, i);
        add_blob(&ack, 3, id.data, id.len);
    }
    add_uint(&b, 1, 10);
    add_blob(&b, 10, ack.data, ack.len);
    const Pulsar__Proto__BaseCommand *c = command_unpack(*state, b.data, b.len);
    assert_non_null(c);
    assert_int_equal(c->ack->n_message_id, 50000);
    assert_int_equal(c->ack->message_id[49999]->entryid, 49999);
    bytes_fini(&b);
    bytes_fini(&ack);
    bytes_fini(&id);
}

static void test_arena_blocks_do_not_overlap(void **state)
{
    uint64_t s = 5;
    struct {
        uint8_t *p;
        size_t n;
    } got[500];
    for (int i = 0; i < 500; i++) {
        got[i].n = 1 + rnd(&s) % (i % 50 ? 200 : 20000);
        got[i].p = arena_alloc(*state, got[i].n);
        assert_non_null(got[i].p);
        assert_int_equal((uintptr_t)got[i].p % 16, 0);
        memset(got[i].p, i & 0xff, got[i].n);
    }
    for (int i = 0; i < 500; i++)
        for (size_t k = 0; k < got[i].n; k++)
            assert_int_equal(got[i].p[k], i & 0xff);
    assert_null(arena_alloc(*state, SIZE_MAX));
}

static void test_send_by_hand(void **state)
{
    (void)state;
    struct send_brief b;
    assert_int_equal(command_parse_send(send, sizeof send, &b), TG_OK);
    assert_int_equal(b.producer_id, 3);
    assert_int_equal(b.sequence_id, 41);
    assert_int_equal(b.num_messages, 1);
    assert_false(b.has_highest || b.is_chunk || b.has_txn || b.marker);
    assert_int_equal(command_parse_send(flow, sizeof flow, &b), TG_EINVAL);
}

static void test_send_nesting_agrees_with_protobuf_c(void **state)
{
    struct bytes b = {0};
    for (int levels = 1; levels < 2 * PB_DEPTH_MAX; levels++) {
        bool both = false;
        nested(&b, PULSAR__PROTO__BASE_COMMAND__TYPE__SEND, 9, levels);
        assert_null(agree_on_send(*state, b.data, b.len, &both));
        assert_int_equal(both, levels <= PB_DEPTH_MAX - 2);
    }
    bytes_fini(&b);
}

static void random_send(struct bytes *b, uint64_t *s)
{
    static const uint8_t ids[][12] = {
        {0x08, 1, 0x10, 2}, {0x08, 1, 0x10, 2, 0x3a, 4, 0x08, 1, 0x10, 2}, {0x08, 1}};
    static const uint8_t id_len[] = {4, 10, 2};
    struct bytes sub = {0};
    uint64_t id = one_in(s, 10) ? 2 : rnd(s) % 2;
    if (!one_in(s, 40))
        add_uint(&sub, 1, rnd_value(s));
    add_uint(&sub, 2, rnd_value(s));
    for (uint64_t n = rnd(s) % 5; n; n--)
        add_uint(&sub, 1 + (uint32_t)(rnd(s) % 8), rnd_value(s));
    if (one_in(s, 4))
        add_blob(&sub, 9, ids[id], id_len[id]);
    if (one_in(s, 8))
        add_noise(&sub, s, one_in(s, 2) ? 10 : 3000);
    add_blob(b, 6, sub.data, sub.len);
    bytes_fini(&sub);
}

static void test_send_agrees_with_protobuf_c(void **state)
{
    uint64_t s = 31337;
    int accepted = 0;
    struct bytes b = {0};
    for (int i = 0; i < ROUNDS; i++) {
        b.len = 0;
        bool first = !one_in(&s, 5);
        if (first)
            add_uint(&b, 1, 6);
        random_send(&b, &s);
        if (one_in(&s, 5))
            random_send(&b, &s);
        if (one_in(&s, 8))
            add_noise(&b, &s, one_in(&s, 2) ? 90 : 3000);
        if (!first || one_in(&s, 10))
            add_uint(&b, 1, one_in(&s, 10) ? rnd(&s) % 20 : 6);
        damage(&b, &s, 0);
        bool both = false;
        const char *differ = agree_on_send(*state, b.data, b.len, &both);
        if (differ)
            fail_msg("round %d: %s", i, differ);
        accepted += both;
    }
    bytes_fini(&b);
    assert_in_range(accepted, ROUNDS / 10, ROUNDS - ROUNDS / 10);
}

static void test_receipt_is_what_protobuf_c_writes(void **state)
{
    (void)state;
    uint64_t s = 99;
    for (int i = 0; i < 20000; i++) {
        Pulsar__Proto__BaseCommand c = PULSAR__PROTO__BASE_COMMAND__INIT;
        Pulsar__Proto__CommandSendReceipt r = PULSAR__PROTO__COMMAND_SEND_RECEIPT__INIT;
        Pulsar__Proto__MessageIdData id = PULSAR__PROTO__MESSAGE_ID_DATA__INIT;
        c.type = PULSAR__PROTO__BASE_COMMAND__TYPE__SEND_RECEIPT;
        c.send_receipt = &r;
        r.message_id = &id;
        r.producer_id = rnd_value(&s);
        r.sequence_id = rnd_value(&s);
        r.has_highest_sequence_id = true;
        r.highest_sequence_id = i == 0 ? UINT64_MAX : rnd_value(&s);
        id.ledgerid = i == 0 ? UINT64_MAX : rnd_value(&s);
        id.entryid = rnd_value(&s);
        uint8_t want[256], got[COMMAND_RECEIPT_MAX];
        size_t len = command_frame_len(&c);
        command_frame_write(&c, want);
        assert_int_equal(command_write_receipt(got, r.producer_id, r.sequence_id,
                                               r.highest_sequence_id, id.ledgerid, id.entryid),
                         len);
        assert_memory_equal(got, want, len);
    }
}

static void test_receipt_at_its_longest(void **state)
{
    (void)state;
    uint8_t out[COMMAND_RECEIPT_MAX];
    const uint64_t m = UINT64_MAX;
    assert_in_range(command_write_receipt(out, m, m, m, m, m), 60, COMMAND_RECEIPT_MAX);
}

static void test_message_head_by_hand(void **state)
{
    (void)state;
    static const uint8_t want[] = {0,    0,    0,    31,   0,    0,   0,    12, /* total, cmdSize */
                                   0x08, 9,    0x4a, 8,                         /* type, message */
                                   0x08, 1,    0x12, 4,    0x08, 5,   0x10, 6,  /* consumer, id */
                                   0x0e, 0x01, 0xde, 0xad, 0xbe, 0xef};
    struct message_head h = {.consumer_id = 1, .ledger = 5, .entry = 6, .partition = -1};
    uint8_t out[COMMAND_MESSAGE_HEAD_MAX];
    assert_int_equal(command_write_message_head(out, &h, 0xdeadbeef, 9), sizeof want);
    assert_memory_equal(out, want, sizeof want);
}

static void random_head(struct message_head *h, int64_t *words, uint32_t max_words, uint64_t *s)
{
    *h = (struct message_head){
        .consumer_id = rnd_value(s),
        .ledger = rnd_value(s),
        .entry = rnd_value(s),
        .partition = one_in(s, 2) ? -1 : (int32_t)(rnd(s) % 3000),
        .redelivery_count = one_in(s, 2) ? 0 : (uint32_t)rnd_value(s),
        .ack_set = words,
        .ack_set_words = one_in(s, 2) ? 0 : (uint32_t)(rnd(s) % (max_words + 1)),
        .has_epoch = one_in(s, 2),
        .epoch = rnd_value(s),
    };
    for (uint32_t i = 0; i < h->ack_set_words; i++)
        words[i] = (int64_t)rnd_value(s);
}

static void test_message_head_is_what_protobuf_c_writes(void **state)
{
    (void)state;
    enum { WORDS = 40 };
    uint64_t s = 4711;
    int64_t words[WORDS];
    for (int i = 0; i < 20000; i++) {
        struct message_head h;
        random_head(&h, words, WORDS, &s);
        Pulsar__Proto__BaseCommand c = PULSAR__PROTO__BASE_COMMAND__INIT;
        Pulsar__Proto__CommandMessage m = PULSAR__PROTO__COMMAND_MESSAGE__INIT;
        Pulsar__Proto__MessageIdData id = PULSAR__PROTO__MESSAGE_ID_DATA__INIT;
        c.type = PULSAR__PROTO__BASE_COMMAND__TYPE__MESSAGE;
        c.message = &m;
        m.message_id = &id;
        m.consumer_id = h.consumer_id;
        m.has_redelivery_count = h.redelivery_count != 0;
        m.redelivery_count = h.redelivery_count;
        m.n_ack_set = h.ack_set_words;
        m.ack_set = words;
        m.has_consumer_epoch = h.has_epoch;
        m.consumer_epoch = h.epoch;
        id.ledgerid = h.ledger;
        id.entryid = h.entry;
        id.has_partition = h.partition >= 0;
        id.partition = h.partition;
        uint8_t want[1024], got[COMMAND_MESSAGE_HEAD_MAX + 11 * WORDS];
        size_t len = command_frame_len(&c);
        command_frame_write(&c, want);
        size_t n = command_write_message_head(got, &h, 0x01020304, 1000);
        assert_true(n <= COMMAND_MESSAGE_HEAD_MAX + 11 * h.ack_set_words);
        assert_int_equal(n, len + 6);
        assert_memory_equal(got + 4, want + 4, len - 4);
        assert_int_equal(get_be32(got), n - 4 + 1000);
        assert_memory_equal(got + len, "\x0e\x01\x01\x02\x03\x04", 6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ARENA(test_flow_by_hand),
        WITH_ARENA(test_defaults_are_those_of_the_protocol),
        WITH_ARENA(test_type_and_sub_message_must_fit),
        WITH_ARENA(test_every_truncation_is_refused),
        WITH_ARENA(test_peek_type),
        WITH_ARENA(test_deep_nesting_is_refused_before_it_uses_up_the_stack),
        WITH_ARENA(test_a_command_of_tiny_fields_does_not_eat_memory),
        WITH_ARENA(test_an_ack_of_a_full_window_fits_the_arena),
        WITH_ARENA(test_arena_blocks_do_not_overlap),
        WITH_ARENA(test_send_by_hand),
        WITH_ARENA(test_send_nesting_agrees_with_protobuf_c),
        WITH_ARENA(test_send_agrees_with_protobuf_c),
        WITH_ARENA(test_receipt_is_what_protobuf_c_writes),
        WITH_ARENA(test_receipt_at_its_longest),
        WITH_ARENA(test_message_head_by_hand),
        WITH_ARENA(test_message_head_is_what_protobuf_c_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
