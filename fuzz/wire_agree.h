/* wire_agree.h - asks the codecs by hand and protobuf-c the same question and compares the answers.
 * Each function returns NULL when they agree, else what they disagree about. Used by the fuzzers
 * and by the unit tests; *accepted (may be NULL) says whether both took the input. */
#ifndef FUZZ_WIRE_AGREE_H
#define FUZZ_WIRE_AGREE_H

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "wire/batch.h"
#include "wire/command.h"
#include "wire/metadata.h"

#define AGREE(what, cond)                                                                          \
    do {                                                                                           \
        if (!(cond))                                                                               \
            return what;                                                                           \
    } while (0)

static inline const char *metadata_differs(const struct metadata_brief *b,
                                           const Pulsar__Proto__MessageMetadata *m)
{
    int32_t n = m->num_messages_in_batch < 1 ? 1 : m->num_messages_in_batch;
    AGREE("sequence_id", b->sequence_id == m->sequence_id);
    AGREE("publish_time", b->publish_time_ms == m->publish_time);
    AGREE("highest_sequence_id", b->highest_sequence_id == m->highest_sequence_id);
    AGREE("num_messages", b->messages == n && b->is_batch == !!m->has_num_messages_in_batch);
    AGREE("marker_type", b->is_marker == !!m->has_marker_type);
    AGREE("encryption_keys", b->is_encrypted == (m->n_encryption_keys > 0));
    AGREE("txnid", b->has_txn == (m->has_txnid_least_bits && m->has_txnid_most_bits));
    AGREE("compression", b->compression == (int32_t)m->compression);
    AGREE("uncompressed_size", b->uncompressed_size == m->uncompressed_size);
    AGREE("chunk_id", b->chunk_id == (m->has_chunk_id ? m->chunk_id : -1));
    AGREE("chunks", b->chunks == m->num_chunks_from_msg);
    AGREE("deliver_at_time", b->deliver_at_ms == m->deliver_at_time);
    return NULL;
}

static inline const char *agree_on_metadata(const uint8_t *body, size_t len, bool *accepted)
{
    struct metadata_brief b;
    const char *why = NULL;
    enum tg_err e = metadata_scan(body, len, &b, &why);
    Pulsar__Proto__MessageMetadata *m = NULL;
    if (len >= 4 && get_be32(body) <= len - 4)
        m = pulsar__proto__message_metadata__unpack(NULL, get_be32(body), body + 4);
    if (accepted)
        *accepted = m != NULL;
    const char *differ = NULL;
    if ((e == TG_OK) != (m != NULL))
        differ = m ? "only protobuf-c accepts" : "only the scan accepts";
    else if (!m && !why)
        differ = "refused without a reason";
    else if (m && (size_t)b.payload_off + b.payload_len != len)
        differ = "payload does not end with the body";
    else if (m)
        differ = metadata_differs(&b, m);
    if (m)
        pulsar__proto__message_metadata__free_unpacked(m, NULL);
    return differ;
}

static inline const char *agree_on_send(struct arena *a, const uint8_t *p, size_t len,
                                        bool *accepted)
{
    struct send_brief b;
    bool by_hand = command_parse_send(p, len, &b) == TG_OK;
    arena_reset(a);
    const Pulsar__Proto__BaseCommand *cmd = command_unpack(a, p, len);
    bool is_send = cmd && cmd->type == PULSAR__PROTO__BASE_COMMAND__TYPE__SEND;
    if (accepted)
        *accepted = is_send;
    AGREE("only protobuf-c accepts", by_hand || !is_send);
    AGREE("only the codec by hand accepts", !by_hand || is_send);
    AGREE("type", !cmd || command_peek_type(p, len) == (int)cmd->type);
    if (!is_send)
        return NULL;
    const Pulsar__Proto__CommandSend *s = cmd->send;
    AGREE("producer_id", b.producer_id == s->producer_id);
    AGREE("sequence_id", b.sequence_id == s->sequence_id);
    AGREE("num_messages", b.num_messages == s->num_messages);
    AGREE("has_highest", b.has_highest == !!s->has_highest_sequence_id);
    AGREE("highest_sequence_id", b.highest_sequence_id == s->highest_sequence_id);
    AGREE("is_chunk", b.is_chunk == !!s->is_chunk);
    AGREE("marker", b.marker == !!s->marker);
    AGREE("txnid", b.has_txn == (s->has_txnid_least_bits && s->has_txnid_most_bits));
    return NULL;
}

/* <p>: one message of a batch, from its metaSize on. */
static inline const char *agree_on_single(const uint8_t *p, size_t len, bool *accepted)
{
    struct batch_cursor c;
    struct batch_message b;
    batch_start(&c, p, len, 1);
    enum tg_err e = batch_next(&c, &b);
    Pulsar__Proto__SingleMessageMetadata *m = NULL;
    size_t after = 0;
    if (len >= 4 && get_be32(p) <= len - 4) {
        after = len - 4 - get_be32(p);
        m = pulsar__proto__single_message_metadata__unpack(NULL, get_be32(p), p + 4);
    }
    bool want = m && m->payload_size >= 0 && (size_t)m->payload_size <= after;
    if (accepted)
        *accepted = want;
    const char *differ = NULL;
    if ((e == TG_OK) != want)
        differ = want ? "only protobuf-c accepts" : "only the batch cursor accepts";
    else if (want && (b.payload_len != (uint32_t)m->payload_size ||
                      b.has_sequence_id != !!m->has_sequence_id ||
                      b.sequence_id != m->sequence_id || b.compacted_out != !!m->compacted_out))
        differ = "a field of SingleMessageMetadata";
    if (m)
        pulsar__proto__single_message_metadata__free_unpacked(m, NULL);
    return differ;
}

#endif
