/* batch.h - the single messages inside the payload of a batch (uncompressed, unencrypted):
 * num_messages_in_batch times u32 metaSize | SingleMessageMetadata | payload. Pure; any thread. */
#ifndef WIRE_BATCH_H
#define WIRE_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct batch_cursor {
    const uint8_t *p; /* the next message; borrowed */
    size_t left_bytes;
    int32_t left_messages;
};

struct batch_message {
    const uint8_t *metadata; /* SingleMessageMetadata; borrowed from the payload */
    uint32_t metadata_len;
    const uint8_t *payload;
    uint32_t payload_len;
    uint64_t sequence_id; /* 0 when absent */
    bool has_sequence_id;
    bool compacted_out;
};

void batch_start(struct batch_cursor *c, const uint8_t *payload, size_t len, int32_t messages);

/* The next message. TG_ENOENT after the last one (bytes may be left over: left_bytes); TG_EINVAL
 * when the payload ends too early or a message is malformed, and the cursor stays there. */
TG_MUSTCHECK enum tg_err batch_next(struct batch_cursor *c, struct batch_message *out);

#endif
