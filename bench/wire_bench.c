/* wire_bench.c - what a command or a message's metadata costs by hand and through protobuf-c.
 *
 * Both ways run in turn within each round, so that a slow moment of the machine hits both; the
 * table shows the median CPU time per operation of all rounds and the spread (lowest to highest).
 * Run by `make bench-wire`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/crc32c_impl.h"
#include "base/mono.h"
#include "wire/arena.h"
#include "wire/command.h"
#include "wire/metadata.h"

enum { ROUNDS = 15, OPS = 200000, KILOBYTE = 1024 };

struct bench {
    struct arena *arena;
    uint8_t send[64], ack[64], flow[32], out[256];
    size_t send_len, ack_len, flow_len;
    struct bytes plain, busy; /* bodies */
    uint8_t kilobyte[KILOBYTE];
    uint64_t sink; /* keeps the compiler from dropping the work */
};

typedef void operation(struct bench *b, uint64_t i);

static void send_by_hand(struct bench *b, uint64_t i)
{
    struct send_brief s;
    (void)i;
    if (command_parse_send(b->send, b->send_len, &s) == TG_OK)
        b->sink += s.sequence_id;
}

static void send_generic(struct bench *b, uint64_t i)
{
    (void)i;
    arena_reset(b->arena);
    b->sink += command_unpack(b->arena, b->send, b->send_len)->send->sequence_id;
}

static void ack_generic(struct bench *b, uint64_t i)
{
    (void)i;
    arena_reset(b->arena);
    b->sink += command_unpack(b->arena, b->ack, b->ack_len)->ack->message_id[0]->entryid;
}

static void flow_generic(struct bench *b, uint64_t i)
{
    (void)i;
    arena_reset(b->arena);
    b->sink += command_unpack(b->arena, b->flow, b->flow_len)->flow->messagepermits;
}

static void receipt_by_hand(struct bench *b, uint64_t i)
{
    b->sink += command_write_receipt(b->out, 3, i, i, 1000, i);
}

static void receipt_generic(struct bench *b, uint64_t i)
{
    Pulsar__Proto__BaseCommand c = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandSendReceipt r = PULSAR__PROTO__COMMAND_SEND_RECEIPT__INIT;
    Pulsar__Proto__MessageIdData id = PULSAR__PROTO__MESSAGE_ID_DATA__INIT;
    c.type = PULSAR__PROTO__BASE_COMMAND__TYPE__SEND_RECEIPT;
    c.send_receipt = &r;
    r.message_id = &id;
    r.producer_id = 3;
    r.sequence_id = r.highest_sequence_id = id.entryid = i;
    r.has_highest_sequence_id = true;
    id.ledgerid = 1000;
    b->sink += command_frame_len(&c); /* as a caller must, to find room */
    command_frame_write(&c, b->out);
}

static void message_by_hand(struct bench *b, uint64_t i)
{
    struct message_head h = {.consumer_id = 1, .ledger = 1000, .entry = i, .partition = -1};
    b->sink += command_write_message_head(b->out, &h, 0x12345678, KILOBYTE);
}

static void message_generic(struct bench *b, uint64_t i)
{
    Pulsar__Proto__BaseCommand c = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandMessage m = PULSAR__PROTO__COMMAND_MESSAGE__INIT;
    Pulsar__Proto__MessageIdData id = PULSAR__PROTO__MESSAGE_ID_DATA__INIT;
    c.type = PULSAR__PROTO__BASE_COMMAND__TYPE__MESSAGE;
    c.message = &m;
    m.message_id = &id;
    m.consumer_id = 1;
    id.ledgerid = 1000;
    id.entryid = i;
    size_t n = command_frame_len(&c);
    command_frame_write(&c, b->out);
    put_be32(b->out, (uint32_t)(n + 2 + KILOBYTE));
    put_be16(b->out + n, FRAME_MAGIC_CHECKSUM);
    put_be32(b->out + n + 2, 0x12345678);
    b->sink += n;
}

static void scan(struct bench *b, const struct bytes *body)
{
    struct metadata_brief m;
    const char *why;
    if (metadata_scan(body->data, body->len, &m, &why) == TG_OK)
        b->sink += m.sequence_id;
}

static void unpack_metadata(struct bench *b, const struct bytes *body)
{
    arena_reset(b->arena);
    b->sink += pulsar__proto__message_metadata__unpack(arena_allocator(b->arena),
                                                       get_be32(body->data), body->data + 4)
                   ->sequence_id;
}

static void plain_by_hand(struct bench *b, uint64_t i)
{
    (void)i;
    scan(b, &b->plain);
}

static void plain_generic(struct bench *b, uint64_t i)
{
    (void)i;
    unpack_metadata(b, &b->plain);
}

static void busy_by_hand(struct bench *b, uint64_t i)
{
    (void)i;
    scan(b, &b->busy);
}

static void busy_generic(struct bench *b, uint64_t i)
{
    (void)i;
    unpack_metadata(b, &b->busy);
}

static void crc_instruction(struct bench *b, uint64_t i)
{
    b->sink += crc32c((uint32_t)i, b->kilobyte, KILOBYTE);
}

static void crc_tables(struct bench *b, uint64_t i)
{
    b->sink += crc32c_soft((uint32_t)i, b->kilobyte, KILOBYTE);
}

/* A command as protobuf-c packs it, without the frame's head. */
static size_t packed(const Pulsar__Proto__BaseCommand *c, uint8_t *out, size_t cap)
{
    uint8_t frame[256];
    size_t n = command_frame_len(c);
    TG_ASSERT(n <= sizeof frame && n - 8 <= cap);
    command_frame_write(c, frame);
    memcpy(out, frame + 8, n - 8);
    return n - 8;
}

static void make_commands(struct bench *b)
{
    Pulsar__Proto__CommandSend s = PULSAR__PROTO__COMMAND_SEND__INIT;
    Pulsar__Proto__CommandAck a = PULSAR__PROTO__COMMAND_ACK__INIT;
    Pulsar__Proto__CommandFlow f = PULSAR__PROTO__COMMAND_FLOW__INIT;
    Pulsar__Proto__MessageIdData id = PULSAR__PROTO__MESSAGE_ID_DATA__INIT, *ids[] = {&id};
    Pulsar__Proto__BaseCommand c = PULSAR__PROTO__BASE_COMMAND__INIT;
    s.producer_id = 3;
    s.sequence_id = 123456;
    s.has_num_messages = true;
    c.type = PULSAR__PROTO__BASE_COMMAND__TYPE__SEND;
    c.send = &s;
    b->send_len = packed(&c, b->send, sizeof b->send);
    id.ledgerid = 1000;
    id.entryid = 123456;
    a.consumer_id = 1;
    a.n_message_id = 1;
    a.message_id = ids;
    c.send = NULL;
    c.type = PULSAR__PROTO__BASE_COMMAND__TYPE__ACK;
    c.ack = &a;
    b->ack_len = packed(&c, b->ack, sizeof b->ack);
    f.consumer_id = 1;
    f.messagepermits = 500;
    c.ack = NULL;
    c.type = PULSAR__PROTO__BASE_COMMAND__TYPE__FLOW;
    c.flow = &f;
    b->flow_len = packed(&c, b->flow, sizeof b->flow);
}

static void pack_body(struct bytes *out, const Pulsar__Proto__MessageMetadata *m)
{
    size_t n = pulsar__proto__message_metadata__get_packed_size(m);
    uint8_t *p = bytes_reserve(out, 4 + n);
    put_be32(p, (uint32_t)n);
    pulsar__proto__message_metadata__pack(m, p + 4);
    out->len = 4 + n;
}

static void make_bodies(struct bench *b)
{
    static char name[] = "standalone-0-12", key[] = "key", value[] = "a value", uuid[] = "order-7";
    Pulsar__Proto__MessageMetadata m = PULSAR__PROTO__MESSAGE_METADATA__INIT;
    m.producer_name = name;
    m.sequence_id = 123456;
    m.publish_time = 1700000000000;
    m.has_uncompressed_size = true;
    m.uncompressed_size = KILOBYTE;
    pack_body(&b->plain, &m);
    Pulsar__Proto__KeyValue kv = PULSAR__PROTO__KEY_VALUE__INIT, *kvs[] = {&kv, &kv, &kv};
    kv.key = key;
    kv.value = value;
    m.n_properties = 3;
    m.properties = kvs;
    m.partition_key = uuid;
    m.has_num_messages_in_batch = true;
    m.num_messages_in_batch = 100;
    m.has_event_time = true;
    m.event_time = 1700000000000;
    m.has_highest_sequence_id = true;
    m.highest_sequence_id = 123555;
    pack_body(&b->busy, &m);
}

static int by_value(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static double ns_per_op(struct bench *b, operation *op)
{
    int64_t start_ns = thread_cpu_ns();
    for (uint64_t i = 0; i < OPS; i++)
        op(b, i);
    return (double)(thread_cpu_ns() - start_ns) / OPS;
}

static void print_cell(double ns[ROUNDS])
{
    qsort(ns, ROUNDS, sizeof ns[0], by_value);
    printf(" %7.1f [%.1f..%.1f]", ns[ROUNDS / 2], ns[0], ns[ROUNDS - 1]);
}

static void compare(struct bench *b, const char *what, operation *ours, operation *theirs)
{
    double a_ns[ROUNDS], b_ns[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        a_ns[r] = ours ? ns_per_op(b, ours) : 0;
        b_ns[r] = ns_per_op(b, theirs);
    }
    printf("%-34s", what);
    if (ours)
        print_cell(a_ns);
    else
        printf("       -");
    printf("  |");
    print_cell(b_ns);
    if (ours)
        printf("  |  %.1fx", b_ns[ROUNDS / 2] / a_ns[ROUNDS / 2]);
    printf("\n");
}

int main(void)
{
    static struct bench b;
    b.arena = arena_new();
    make_commands(&b);
    make_bodies(&b);
    printf("CPU ns per operation, median [lowest..highest] of %d rounds of %d\n", ROUNDS, OPS);
    printf("%-34s by hand  |  protobuf-c  |  ratio\n", "");
    compare(&b, "SEND, read", send_by_hand, send_generic);
    compare(&b, "SEND_RECEIPT, write", receipt_by_hand, receipt_generic);
    compare(&b, "MESSAGE head, write", message_by_hand, message_generic);
    compare(&b, "metadata, 4 fields", plain_by_hand, plain_generic);
    compare(&b, "metadata, batch with 3 properties", busy_by_hand, busy_generic);
    compare(&b, "ACK of one id, read", NULL, ack_generic);
    compare(&b, "FLOW, read", NULL, flow_generic);
    printf("\n%-34s instruction  |  tables  |  ratio\n", "");
    compare(&b, "CRC-32C of 1024 bytes", crc_instruction, crc_tables);
    bytes_fini(&b.plain);
    bytes_fini(&b.busy);
    arena_free(b.arena);
    return b.sink == 0;
}
