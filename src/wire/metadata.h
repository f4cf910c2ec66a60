/* metadata.h - what the broker must know of a message's metadata, without unpacking all of it.
 *
 * metadata_scan walks the protobuf fields once, checks that they are well formed (as protobuf-c
 * would) and that the required ones are there, and keeps the few that matter. Pure; any thread. */
#ifndef WIRE_METADATA_H
#define WIRE_METADATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct metadata_brief {
    uint64_t sequence_id;
    uint64_t highest_sequence_id; /* 0 when absent */
    uint64_t publish_time_ms;
    int32_t messages;  /* num_messages_in_batch, at least 1 */
    bool is_batch;     /* the field is present, even when 1 */
    bool is_marker;    /* marker_type is present */
    bool is_encrypted; /* has encryption keys */
    bool has_txn;
    int32_t compression;
    uint32_t uncompressed_size;
    int32_t chunk_id, chunks;            /* -1, 0 when not chunked */
    int64_t deliver_at_ms;               /* 0 when absent */
    uint32_t metadata_off, metadata_len; /* inside the body */
    uint32_t payload_off, payload_len;   /* inside the body */
};

/* <body> as in frame.h. TG_EINVAL with *why for a body that is not metadata plus payload. */
TG_MUSTCHECK enum tg_err metadata_scan(const uint8_t *body, size_t len, struct metadata_brief *out,
                                       const char **why);

#endif
