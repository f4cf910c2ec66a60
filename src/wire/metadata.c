/* metadata.c - one pass over a MessageMetadata, keeping what the broker needs.
 *
 * Runs for every message published: it allocates nothing and looks at each byte of the fields'
 * keys and lengths once. A table says what each known field must look like; what is present is
 * noted as one bit per field number (all are below 64), from which the flags are read at the end.
 * It accepts what protobuf-c would accept and nothing else. */
#include "wire/metadata.h"

#include "base/bytes.h"
#include "wire/pb.h"

enum { META_SIZE_FIELD = 4 };

/* Field numbers of MessageMetadata that mean something to the broker. */
enum {
    MD_PRODUCER_NAME = 1,
    MD_SEQUENCE_ID = 2,
    MD_PUBLISH_TIME = 3,
    MD_COMPRESSION = 8,
    MD_UNCOMPRESSED_SIZE = 9,
    MD_NUM_MESSAGES = 11,
    MD_ENCRYPTION_KEYS = 13,
    MD_DELIVER_AT_TIME = 19,
    MD_MARKER_TYPE = 20,
    MD_TXNID_LEAST = 22,
    MD_TXNID_MOST = 23,
    MD_HIGHEST_SEQUENCE_ID = 24,
    MD_NUM_CHUNKS = 27,
    MD_CHUNK_ID = 29,
};

static const uint8_t kinds[] = {
    [MD_PRODUCER_NAME] = PB_BYTES,
    [MD_SEQUENCE_ID] = PB_INT,
    [MD_PUBLISH_TIME] = PB_INT,
    [4] = PB_KEY_VALUE, /* properties */
    [5] = PB_BYTES,     /* replicated_from */
    [6] = PB_BYTES,     /* partition_key */
    [7] = PB_BYTES,     /* replicate_to */
    [MD_COMPRESSION] = PB_INT,
    [MD_UNCOMPRESSED_SIZE] = PB_INT,
    [MD_NUM_MESSAGES] = PB_INT,
    [12] = PB_INT, /* event_time */
    [MD_ENCRYPTION_KEYS] = PB_ENCRYPTION_KEYS,
    [14] = PB_BYTES, /* encryption_algo */
    [15] = PB_BYTES, /* encryption_param */
    [16] = PB_BYTES, /* schema_version */
    [17] = PB_BOOL,  /* partition_key_b64_encoded */
    [18] = PB_BYTES, /* ordering_key */
    [MD_DELIVER_AT_TIME] = PB_INT,
    [MD_MARKER_TYPE] = PB_INT,
    [MD_TXNID_LEAST] = PB_INT,
    [MD_TXNID_MOST] = PB_INT,
    [MD_HIGHEST_SEQUENCE_ID] = PB_INT,
    [25] = PB_BOOL,  /* null_value */
    [26] = PB_BYTES, /* uuid */
    [MD_NUM_CHUNKS] = PB_INT,
    [28] = PB_INT, /* total_chunk_msg_size */
    [MD_CHUNK_ID] = PB_INT,
    [30] = PB_BOOL,  /* null_partition_key */
    [31] = PB_INTS,  /* compacted_batch_indexes */
    [32] = PB_BYTES, /* schema_id */
    [33] = PB_INT,   /* entry_hash_min */
    [34] = PB_INT,   /* entry_hash_max */
};

#define SEEN(number) (UINT64_C(1) << (number))

static const uint64_t required =
    SEEN(MD_PRODUCER_NAME) | SEEN(MD_SEQUENCE_ID) | SEEN(MD_PUBLISH_TIME);

static void keep(struct metadata_brief *out, const struct pb_field *f)
{
    switch (f->number) {
    case MD_SEQUENCE_ID:
        out->sequence_id = f->value;
        break;
    case MD_PUBLISH_TIME:
        out->publish_time_ms = f->value;
        break;
    case MD_COMPRESSION:
        out->compression = (int32_t)(uint32_t)f->value;
        break;
    case MD_UNCOMPRESSED_SIZE:
        out->uncompressed_size = (uint32_t)f->value;
        break;
    case MD_NUM_MESSAGES:
        out->messages = (int32_t)(uint32_t)f->value;
        break;
    case MD_DELIVER_AT_TIME:
        out->deliver_at_ms = (int64_t)f->value;
        break;
    case MD_HIGHEST_SEQUENCE_ID:
        out->highest_sequence_id = f->value;
        break;
    case MD_NUM_CHUNKS:
        out->chunks = (int32_t)(uint32_t)f->value;
        break;
    case MD_CHUNK_ID:
        out->chunk_id = (int32_t)(uint32_t)f->value;
        break;
    default:
        break;
    }
}

static void conclude(struct metadata_brief *out, uint64_t seen)
{
    const uint64_t txn = SEEN(MD_TXNID_LEAST) | SEEN(MD_TXNID_MOST);
    out->is_batch = seen & SEEN(MD_NUM_MESSAGES);
    out->is_marker = seen & SEEN(MD_MARKER_TYPE);
    out->is_encrypted = seen & SEEN(MD_ENCRYPTION_KEYS);
    out->has_txn = (seen & txn) == txn;
    if (out->messages < 1) /* the count is what limits are charged by */
        out->messages = 1;
}

static enum tg_err scan_fields(const uint8_t *p, size_t len, struct metadata_brief *out,
                               const char **why)
{
    struct pb_cursor c = {p, p + len};
    uint64_t seen = 0;
    while (pb_left(&c)) {
        struct pb_field f;
        if (!pb_next(&c, &f)) {
            *why = "malformed field in the metadata";
            return TG_EINVAL;
        }
        if (f.number >= sizeof kinds)
            continue;
        if (!pb_kind_ok((enum pb_kind)kinds[f.number], &f, 1)) {
            *why = "a field of the metadata has the wrong form";
            return TG_EINVAL;
        }
        seen |= SEEN(f.number);
        keep(out, &f);
    }
    if ((seen & required) != required) {
        *why = "a required field of the metadata is missing";
        return TG_EINVAL;
    }
    conclude(out, seen);
    return TG_OK;
}

enum tg_err metadata_scan(const uint8_t *body, size_t len, struct metadata_brief *out,
                          const char **why)
{
    if (len < META_SIZE_FIELD || len > UINT32_MAX) {
        *why = "no room for the metadata size";
        return TG_EINVAL;
    }
    uint32_t metadata_len = get_be32(body);
    if (metadata_len > len - META_SIZE_FIELD) {
        *why = "metadata larger than its frame";
        return TG_EINVAL;
    }
    uint32_t payload_off = META_SIZE_FIELD + metadata_len;
    *out = (struct metadata_brief){
        .messages = 1,
        .chunk_id = -1,
        .metadata_off = META_SIZE_FIELD,
        .metadata_len = metadata_len,
        .payload_off = payload_off,
        .payload_len = (uint32_t)len - payload_off,
    };
    return scan_fields(body + META_SIZE_FIELD, metadata_len, out, why);
}
