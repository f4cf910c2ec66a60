/* command_hot.c - the commands of the per-message path, read and written by hand.
 *
 * Reading agrees with command_unpack on every input: the same bytes are accepted, the same values
 * come out (a field given twice: the last one counts, also across two copies of the sub-message).
 * Writing gives the bytes protobuf-c would give. Both are checked against it by the unit tests and
 * the fuzzers. Nothing allocates. */
#include "wire/command.h"

#include "base/bytes.h"
#include "wire/pb.h"

enum {
    FRAME_HEAD = 8,         /* total and cmdSize */
    CHECKSUM_FIELD = 2 + 4, /* magic and CRC */
    BASE_TYPE = 1,          /* BaseCommand.type; a sub-message's number is its type's */
};

/* Field numbers of CommandSend. */
enum {
    SEND_PRODUCER_ID = 1,
    SEND_SEQUENCE_ID = 2,
    SEND_NUM_MESSAGES = 3,
    SEND_TXNID_LEAST = 4,
    SEND_TXNID_MOST = 5,
    SEND_HIGHEST_SEQUENCE_ID = 6,
    SEND_IS_CHUNK = 7,
    SEND_MARKER = 8,
    SEND_MESSAGE_ID = 9,
};

static const uint8_t send_kinds[] = {
    [SEND_PRODUCER_ID] = PB_INT, [SEND_SEQUENCE_ID] = PB_INT, [SEND_NUM_MESSAGES] = PB_INT,
    [SEND_TXNID_LEAST] = PB_INT, [SEND_TXNID_MOST] = PB_INT,  [SEND_HIGHEST_SEQUENCE_ID] = PB_INT,
    [SEND_IS_CHUNK] = PB_BOOL,   [SEND_MARKER] = PB_BOOL,     [SEND_MESSAGE_ID] = PB_MESSAGE_ID,
};

static void keep_send_field(struct send_brief *out, const struct pb_field *f)
{
    switch (f->number) {
    case SEND_PRODUCER_ID:
        out->producer_id = f->value;
        break;
    case SEND_SEQUENCE_ID:
        out->sequence_id = f->value;
        break;
    case SEND_NUM_MESSAGES:
        out->num_messages = (int32_t)(uint32_t)f->value;
        break;
    case SEND_HIGHEST_SEQUENCE_ID:
        out->highest_sequence_id = f->value;
        break;
    case SEND_IS_CHUNK:
        out->is_chunk = pb_bool(f);
        break;
    case SEND_MARKER:
        out->marker = pb_bool(f);
        break;
    default:
        break;
    }
}

/* One CommandSend. *seen gathers the fields of all copies; the required ones must be in
 * each. */
static bool parse_send_message(const struct pb_field *in, struct send_brief *out, uint32_t *seen)
{
    if (in->wire != PB_LEN)
        return false;
    struct pb_cursor c = {in->data, in->data + in->len};
    uint32_t here = 0;
    while (pb_left(&c)) {
        struct pb_field f;
        if (!pb_next(&c, &f))
            return false;
        if (f.number >= sizeof send_kinds)
            continue;
        if (!pb_kind_ok((enum pb_kind)send_kinds[f.number], &f, 2))
            return false;
        here |= 1u << f.number;
        keep_send_field(out, &f);
    }
    *seen |= here;
    const uint32_t required = 1u << SEND_PRODUCER_ID | 1u << SEND_SEQUENCE_ID;
    return (here & required) == required;
}

/* Another command's sub-message has no business here; unknown fields are for newer clients. */
static bool foreign(uint32_t number)
{
    return protobuf_c_message_descriptor_get_field(&pulsar__proto__base_command__descriptor,
                                                   number) != NULL;
}

enum tg_err command_parse_send(const uint8_t *p, size_t len, struct send_brief *out)
{
    const uint32_t send = PULSAR__PROTO__BASE_COMMAND__TYPE__SEND;
    struct pb_cursor c = {p, p + len};
    uint32_t type = 0, seen = 0;
    *out = (struct send_brief){.num_messages = 1};
    while (pb_left(&c)) {
        struct pb_field f;
        if (!pb_next(&c, &f))
            return TG_EINVAL;
        if (f.number == BASE_TYPE) {
            if (f.wire != PB_VARINT)
                return TG_EINVAL;
            type = (uint32_t)f.value;
        } else if (f.number == send) {
            if (!parse_send_message(&f, out, &seen))
                return TG_EINVAL;
        } else if (foreign(f.number)) {
            return TG_EINVAL;
        }
    }
    if (type != send || seen == 0)
        return TG_EINVAL;
    const uint32_t txn = 1u << SEND_TXNID_LEAST | 1u << SEND_TXNID_MOST;
    out->has_txn = (seen & txn) == txn;
    out->has_highest = seen & 1u << SEND_HIGHEST_SEQUENCE_ID;
    return TG_OK;
}

/* The head of a frame with a command of <command_len> bytes and <after> more bytes behind it. */
static uint8_t *put_head(uint8_t *out, size_t command_len, size_t after)
{
    put_be32(out, (uint32_t)(4 + command_len + after));
    put_be32(out + 4, (uint32_t)command_len);
    return out + FRAME_HEAD;
}

/* One key byte and the value. */
static size_t uint_len(uint64_t v)
{
    return 1 + pb_varint_len(v);
}

/* The type field, then the sub-message's key and length; its contents must follow. */
static uint8_t *put_type(uint8_t *p, unsigned type, size_t len)
{
    p = pb_put_uint(p, BASE_TYPE, type);
    return pb_put_len(p, type, len);
}

size_t command_write_receipt(uint8_t *out, uint64_t producer_id, uint64_t sequence_id,
                             uint64_t highest_sequence_id, uint64_t ledger, uint64_t entry)
{
    const unsigned type = PULSAR__PROTO__BASE_COMMAND__TYPE__SEND_RECEIPT;
    size_t id_len = uint_len(ledger) + uint_len(entry);
    size_t len =
        uint_len(producer_id) + uint_len(sequence_id) + 2 + id_len + uint_len(highest_sequence_id);
    uint8_t *p = put_head(out, uint_len(type) + uint_len(len) + len, 0);
    p = put_type(p, type, len);
    p = pb_put_uint(p, 1, producer_id);
    p = pb_put_uint(p, 2, sequence_id);
    p = pb_put_len(p, 3, id_len);
    p = pb_put_uint(p, 1, ledger);
    p = pb_put_uint(p, 2, entry);
    p = pb_put_uint(p, 4, highest_sequence_id);
    return (size_t)(p - out);
}

static size_t message_id_len(const struct message_head *h)
{
    size_t n = uint_len(h->ledger) + uint_len(h->entry);
    return h->partition < 0 ? n : n + uint_len((uint64_t)h->partition);
}

static size_t message_len(const struct message_head *h)
{
    size_t n = uint_len(h->consumer_id) + 2 + message_id_len(h);
    if (h->redelivery_count)
        n += uint_len(h->redelivery_count);
    for (uint32_t i = 0; i < h->ack_set_words; i++)
        n += uint_len((uint64_t)h->ack_set[i]);
    return h->has_epoch ? n + uint_len(h->epoch) : n;
}

static uint8_t *put_message(uint8_t *p, const struct message_head *h)
{
    p = pb_put_uint(p, 1, h->consumer_id);
    p = pb_put_len(p, 2, message_id_len(h));
    p = pb_put_uint(p, 1, h->ledger);
    p = pb_put_uint(p, 2, h->entry);
    if (h->partition >= 0)
        p = pb_put_uint(p, 3, (uint64_t)h->partition);
    if (h->redelivery_count)
        p = pb_put_uint(p, 3, h->redelivery_count);
    for (uint32_t i = 0; i < h->ack_set_words; i++)
        p = pb_put_uint(p, 4, (uint64_t)h->ack_set[i]);
    return h->has_epoch ? pb_put_uint(p, 5, h->epoch) : p;
}

size_t command_write_message_head(uint8_t *out, const struct message_head *h, uint32_t crc,
                                  uint32_t body_len)
{
    const unsigned type = PULSAR__PROTO__BASE_COMMAND__TYPE__MESSAGE;
    size_t len = message_len(h);
    size_t command_len = uint_len(type) + uint_len(len) + len;
    TG_ASSERT(command_len + CHECKSUM_FIELD + 4 <= UINT32_MAX - body_len);
    uint8_t *p = put_head(out, command_len, CHECKSUM_FIELD + (size_t)body_len);
    p = put_type(p, type, len);
    p = put_message(p, h);
    put_be16(p, FRAME_MAGIC_CHECKSUM);
    put_be32(p + 2, crc);
    return (size_t)(p + CHECKSUM_FIELD - out);
}
