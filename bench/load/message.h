/* message.h - a SEND frame made once and re-labelled for each message.
 *
 * Producer id and sequence ids are varints of a fixed five bytes, so that another number never
 * moves anything. The sequence id inside the metadata is under the checksum; as CRC-32C is linear,
 * the checksum for another id is the first one xored with one table entry for each of its bytes. */
#ifndef BENCH_MESSAGE_H
#define BENCH_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "wire/command.h"
#include "wire/frame.h"
#include "wire/metadata.h"

enum { ID_BYTES = 5 }; /* ids below 2^35 */

struct message {
    struct bytes frame;
    size_t producer_at, sequence_at, highest_at, crc_at, body_at,
        meta_sequence_at; /* highest_at 0: none */
    uint32_t batch;
    uint32_t crc; /* with all id bytes zero */
    uint32_t table[ID_BYTES][256];
};

static inline void message_put_id(uint8_t *p, uint64_t id)
{
    for (int i = 0; i < ID_BYTES - 1; i++)
        p[i] = (uint8_t)(0x80 | (id >> (7 * i) & 0x7f));
    p[ID_BYTES - 1] = (uint8_t)(id >> (7 * (ID_BYTES - 1)) & 0x7f);
}

static inline void message_put_varint(struct bytes *b, uint64_t v)
{
    uint8_t out[10];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        out[n++] = (uint8_t)(0x80 | (v & 0x7f));
    out[n++] = (uint8_t)v;
    bytes_append(b, out, n);
}

static inline size_t message_add_id(struct bytes *b, uint8_t key)
{
    static const uint8_t nothing[ID_BYTES] = {0};
    bytes_append(b, &key, 1);
    bytes_append(b, nothing, ID_BYTES);
    return b->len - ID_BYTES;
}

static inline void message_add_u32(struct bytes *b, uint32_t v)
{
    put_be32(bytes_reserve(b, 4), v);
    b->len += 4;
}

/* The payload: <batch> messages of <size> bytes, framed as a batch when there are several. Random
 * letters, so that nothing on the way gains by compressing them. */
static inline void message_add_payload(struct bytes *b, uint32_t size, uint32_t batch)
{
    uint32_t x = 0x2545f491;
    for (uint32_t i = 0; i < batch; i++) {
        if (batch > 1) {
            struct bytes single = {0};
            bytes_append(&single, "\x18", 1); /* SingleMessageMetadata.payload_size */
            message_put_varint(&single, size);
            message_add_u32(b, (uint32_t)single.len);
            bytes_append(b, single.data, single.len);
            bytes_fini(&single);
        }
        uint8_t *p = bytes_reserve(b, size);
        for (uint32_t k = 0; k < size; k++) {
            x = x * 1664525 + 1013904223;
            p[k] = (uint8_t)('a' + (x >> 24) % 26);
        }
        b->len += size;
    }
}

static inline struct bytes message_metadata(const char *producer, uint64_t publish_time_ms,
                                            uint32_t batch, size_t *sequence_at)
{
    struct bytes b = {0};
    bytes_append(&b, "\x0a", 1);
    message_put_varint(&b, strlen(producer));
    bytes_append(&b, producer, strlen(producer));
    *sequence_at = message_add_id(&b, 0x10);
    bytes_append(&b, "\x18", 1);
    message_put_varint(&b, publish_time_ms);
    if (batch > 1) {
        bytes_append(&b, "\x58", 1); /* num_messages_in_batch */
        message_put_varint(&b, batch);
    }
    return b;
}

static inline struct bytes message_command(struct message *m)
{
    struct bytes send = {0}, b = {0};
    m->producer_at = message_add_id(&send, 0x08);
    m->sequence_at = message_add_id(&send, 0x10);
    if (m->batch > 1) {
        bytes_append(&send, "\x18", 1);
        message_put_varint(&send, m->batch);
        m->highest_at = message_add_id(&send, 0x30);
    }
    bytes_append(&b, "\x08\x06\x32", 3); /* type SEND, then CommandSend */
    message_put_varint(&b, send.len);
    size_t before = 8 + b.len;
    bytes_append(&b, send.data, send.len);
    bytes_fini(&send);
    m->producer_at += before;
    m->sequence_at += before;
    m->highest_at += m->highest_at ? before : 0;
    return b;
}

static inline void message_make_table(struct message *m)
{
    const uint8_t *body = m->frame.data + m->body_at;
    size_t len = m->frame.len - m->body_at;
    uint8_t *other = xmalloc(len);
    m->crc = crc32c(0, body, len);
    for (int i = 0; i < ID_BYTES; i++)
        for (int v = 0; v < 256; v++) {
            memcpy(other, body, len);
            other[m->meta_sequence_at - m->body_at + (size_t)i] = (uint8_t)v;
            m->table[i][v] = crc32c(0, other, len) ^ m->crc;
        }
    free(other);
}

static inline void message_make(struct message *m, const char *producer, uint64_t publish_time_ms,
                                uint32_t size, uint32_t batch)
{
    *m = (struct message){.batch = batch};
    struct bytes *f = &m->frame;
    struct bytes meta = message_metadata(producer, publish_time_ms, batch, &m->meta_sequence_at);
    struct bytes command = message_command(m);
    message_add_u32(f, 0);
    message_add_u32(f, (uint32_t)command.len);
    bytes_append(f, command.data, command.len);
    bytes_append(f, "\x0e\x01", 2);
    m->crc_at = f->len;
    message_add_u32(f, 0);
    m->body_at = f->len;
    message_add_u32(f, (uint32_t)meta.len);
    m->meta_sequence_at += f->len;
    bytes_append(f, meta.data, meta.len);
    message_add_payload(f, size, batch);
    put_be32(f->data, (uint32_t)(f->len - 4));
    message_make_table(m);
    bytes_fini(&meta);
    bytes_fini(&command);
}

/* The frame of one message (batch) at <out>, which has room for frame.len bytes. */
static inline void message_write(const struct message *m, uint8_t *out, uint64_t producer_id,
                                 uint64_t sequence_id)
{
    memcpy(out, m->frame.data, m->frame.len);
    message_put_id(out + m->producer_at, producer_id);
    message_put_id(out + m->sequence_at, sequence_id);
    if (m->highest_at)
        message_put_id(out + m->highest_at, sequence_id + m->batch - 1);
    uint8_t *id = out + m->meta_sequence_at;
    message_put_id(id, sequence_id);
    uint32_t crc = m->crc;
    for (int i = 0; i < ID_BYTES; i++)
        crc ^= m->table[i][id[i]];
    put_be32(out + m->crc_at, crc);
}

/* True when the broker's own reader takes a re-labelled frame for what it is meant to be. */
static inline bool message_check(const struct message *m, uint64_t producer_id, uint64_t sequence)
{
    uint8_t *copy = xmalloc(m->frame.len);
    message_write(m, copy, producer_id, sequence);
    struct frame f;
    struct send_brief send;
    struct metadata_brief meta;
    const char *why;
    size_t need;
    bool ok = frame_parse(copy, m->frame.len, m->frame.len, &f, &need, &why) == FRAME_OK &&
              f.frame_len == m->frame.len && f.has_checksum && frame_checksum_ok(&f) &&
              command_parse_send(f.command, f.command_len, &send) == TG_OK &&
              send.producer_id == producer_id && send.sequence_id == sequence &&
              send.num_messages == (int32_t)m->batch &&
              metadata_scan(f.body, f.body_len, &meta, &why) == TG_OK &&
              meta.sequence_id == sequence && meta.messages == (int32_t)m->batch;
    free(copy);
    return ok;
}

#endif
