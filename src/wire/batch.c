/* batch.c - steps through the messages of a batch, trusting no size in it. The metadata of each is
 * checked as protobuf-c would check it; the cursor moves only over a message that is whole. */
#include "wire/batch.h"

#include "base/bytes.h"
#include "wire/pb.h"

enum { SIZE_FIELD = 4 };

/* Field numbers of SingleMessageMetadata that matter here. */
enum { SM_PAYLOAD_SIZE = 3, SM_COMPACTED_OUT = 4, SM_SEQUENCE_ID = 8 };

static const uint8_t kinds[] = {
    [1] = PB_KEY_VALUE, /* properties */
    [2] = PB_BYTES,     /* partition_key */
    [SM_PAYLOAD_SIZE] = PB_INT,
    [SM_COMPACTED_OUT] = PB_BOOL,
    [5] = PB_INT,   /* event_time */
    [6] = PB_BOOL,  /* partition_key_b64_encoded */
    [7] = PB_BYTES, /* ordering_key */
    [SM_SEQUENCE_ID] = PB_INT,
    [9] = PB_BOOL,  /* null_value */
    [10] = PB_BOOL, /* null_partition_key */
};

void batch_start(struct batch_cursor *c, const uint8_t *payload, size_t len, int32_t messages)
{
    *c = (struct batch_cursor){.p = payload, .left_bytes = len, .left_messages = messages};
}

/* Sets payload_size to -1 when it is missing. */
static bool scan_single(const uint8_t *p, uint32_t len, struct batch_message *out,
                        int32_t *payload_size)
{
    struct pb_cursor c = {p, p + len};
    *payload_size = -1;
    while (pb_left(&c)) {
        struct pb_field f;
        if (!pb_next(&c, &f))
            return false;
        if (f.number >= sizeof kinds)
            continue;
        if (!pb_kind_ok((enum pb_kind)kinds[f.number], &f, 1))
            return false;
        if (f.number == SM_PAYLOAD_SIZE) {
            *payload_size = (int32_t)(uint32_t)f.value;
        } else if (f.number == SM_COMPACTED_OUT) {
            out->compacted_out = pb_bool(&f);
        } else if (f.number == SM_SEQUENCE_ID) {
            out->has_sequence_id = true;
            out->sequence_id = f.value;
        }
    }
    return true;
}

enum tg_err batch_next(struct batch_cursor *c, struct batch_message *out)
{
    if (c->left_messages <= 0)
        return TG_ENOENT;
    if (c->left_bytes < SIZE_FIELD)
        return TG_EINVAL;
    uint32_t metadata_len = get_be32(c->p);
    size_t left = c->left_bytes - SIZE_FIELD;
    if (metadata_len > left)
        return TG_EINVAL;
    left -= metadata_len;
    *out = (struct batch_message){.metadata = c->p + SIZE_FIELD, .metadata_len = metadata_len};
    int32_t payload_size;
    if (!scan_single(out->metadata, metadata_len, out, &payload_size))
        return TG_EINVAL;
    if (payload_size < 0 || (size_t)payload_size > left)
        return TG_EINVAL;
    out->payload = out->metadata + metadata_len;
    out->payload_len = (uint32_t)payload_size;
    c->p = out->payload + payload_size;
    c->left_bytes = left - (size_t)payload_size;
    c->left_messages--;
    return TG_OK;
}
