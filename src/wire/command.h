/* command.h - commands: bytes to protobuf-c structs and back.
 *
 * A struct unpacked lives in the connection's arena until arena_reset: nobody frees it. Packing
 * writes a whole simple frame (both sizes included). What runs once per message - SEND in,
 * SEND_RECEIPT and MESSAGE out - has codecs by hand beside the generic way, tested against it
 * (docs/decisions/0002 has the figures). One owner per arena. */
#ifndef WIRE_COMMAND_H
#define WIRE_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/frame.h"
#include "wire/pulsar.pb-c.h" /* generated from pulsar.proto */

/* Bump allocator for one connection's commands; grows by blocks, bounded by ARENA_MAX. */
struct arena;
struct arena *arena_new(void);
void arena_free(struct arena *a);
void arena_reset(struct arena *a); /* everything unpacked is gone; keeps at most one small block */

/* NULL when malformed (also: an unknown type, a missing required field, no or the wrong sub-message
 * for the type, another type's sub-message beside it, message ids nested beyond reason, or more
 * than the arena holds). Unknown fields are skipped. */
TG_MUSTCHECK Pulsar__Proto__BaseCommand *command_unpack(struct arena *a, const uint8_t *p,
                                                        size_t len);

/* The type alone, known or not, by looking at field 1; 0 when it can't be told. */
int command_peek_type(const uint8_t *p, size_t len);
const char *command_type_name(int type); /* "SEND", ...; "unknown" */

/* A whole simple frame. */
size_t command_frame_len(const Pulsar__Proto__BaseCommand *cmd);
void command_frame_write(const Pulsar__Proto__BaseCommand *cmd, uint8_t *out); /* frame_len bytes */

/* ---- by hand: the hot commands ---- */

struct send_brief {
    uint64_t producer_id, sequence_id, highest_sequence_id;
    int32_t num_messages;
    bool has_highest, is_chunk, has_txn, marker;
};
/* TG_EINVAL: malformed or not a SEND, exactly where command_unpack would say so. has_txn: both
 * halves of the id are there. */
TG_MUSTCHECK enum tg_err command_parse_send(const uint8_t *p, size_t len, struct send_brief *out);

enum { COMMAND_RECEIPT_MAX = 96, COMMAND_MESSAGE_HEAD_MAX = 128 };

/* A whole SEND_RECEIPT frame; returns its length (<= COMMAND_RECEIPT_MAX). */
size_t command_write_receipt(uint8_t *out, uint64_t producer_id, uint64_t sequence_id,
                             uint64_t highest_sequence_id, uint64_t ledger, uint64_t entry);

struct message_head {
    uint64_t consumer_id, ledger, entry;
    int32_t partition; /* -1: none */
    uint32_t redelivery_count;
    const int64_t *ack_set; /* words still to deliver; NULL: all */
    uint32_t ack_set_words;
    bool has_epoch;
    uint64_t epoch;
};
/* Everything of a MESSAGE frame before the body: sizes, command, 0x0e01 and <crc>. <body_len> bytes
 * of body must follow. Returns its length: <= COMMAND_MESSAGE_HEAD_MAX + 11 * ack_set_words. */
size_t command_write_message_head(uint8_t *out, const struct message_head *h, uint32_t crc,
                                  uint32_t body_len);

#endif
