/* random_pb.h - random protobuf messages, some of them broken, for tests that compare codecs. The
 * same seed gives the same messages. */
#ifndef TESTS_WIRE_RANDOM_PB_H
#define TESTS_WIRE_RANDOM_PB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

static inline uint64_t rnd(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static inline bool one_in(uint64_t *s, uint64_t n)
{
    return rnd(s) % n == 0;
}

static inline void add_varint(struct bytes *b, uint64_t v)
{
    uint8_t out[10];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        out[n++] = (uint8_t)(v | 0x80);
    out[n++] = (uint8_t)v;
    bytes_append(b, out, n);
}

static inline void add_uint(struct bytes *b, uint32_t number, uint64_t v)
{
    add_varint(b, (uint64_t)number << 3);
    add_varint(b, v);
}

static inline void add_blob(struct bytes *b, uint32_t number, const void *p, size_t n)
{
    add_varint(b, (uint64_t)number << 3 | 2);
    add_varint(b, n);
    bytes_append(b, p, n);
}

/* Small, large and negative values, each often. */
static inline uint64_t rnd_value(uint64_t *s)
{
    uint64_t v = rnd(s);
    return one_in(s, 3) ? v % 3 : one_in(s, 8) ? UINT64_MAX - v % 5 : v >> (v % 64);
}

/* Any field, of any wire type, known or not. */
static inline void add_noise(struct bytes *b, uint64_t *s, uint32_t max_number)
{
    static const uint8_t zeros[8];
    uint32_t number = 1 + (uint32_t)(rnd(s) % max_number);
    uint32_t wire = (uint32_t)(rnd(s) % 8);
    add_varint(b, (uint64_t)number << 3 | wire);
    if (wire == 0)
        add_varint(b, rnd_value(s));
    else if (wire == 2)
        add_varint(b, 0);
    else if (wire == 1 || wire == 5)
        bytes_append(b, zeros, wire == 1 ? 8 : 4);
}

/* Breaks some of the messages from offset <from> on: one bit, one byte, or the end. */
static inline void damage(struct bytes *b, uint64_t *s, size_t from)
{
    if (b->len <= from)
        return;
    size_t at = from + rnd(s) % (b->len - from);
    switch (rnd(s) % 6) {
    case 0:
        b->data[at] ^= (uint8_t)(1u << rnd(s) % 8);
        break;
    case 1:
        b->data[at] = (uint8_t)rnd(s);
        break;
    case 2:
        b->len = at;
        break;
    default: /* stays whole */
        break;
    }
}

#endif
