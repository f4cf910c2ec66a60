/* pb.h - walking over protobuf fields without unpacking them. Inside wire/ only.
 *
 * A cursor stands before a field; pb_next reads that field and steps over it. It accepts exactly
 * what protobuf-c accepts, so that a codec by hand never disagrees with the generic one about what
 * is malformed: keys and lengths of at most 5 bytes, varints of at most 10 (excess bits dropped),
 * no groups, no field 0 in one byte. Nothing is copied; every length is compared with what is left
 * before it is used. Pure; any thread. */
#ifndef WIRE_PB_H
#define WIRE_PB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pb_wire { PB_VARINT = 0, PB_FIXED64 = 1, PB_LEN = 2, PB_FIXED32 = 5 };

enum {
    PB_KEY_MAX = 5,     /* bytes of a field's key, and of a length */
    PB_VARINT_MAX = 10, /* bytes of any varint */
    /* Messages inside messages. Only MessageIdData can hold itself, and a client has no use for
     * more than one such level; the bound keeps a hostile command from using up the stack. */
    PB_DEPTH_MAX = 64,
    /* The shortest valid command that could be deeper: a key, a length and two required fields per
     * level. Shorter ones need no look at their depth. */
    PB_DEEP_BYTES = PB_DEPTH_MAX * 6,
};

struct pb_cursor {
    const uint8_t *p, *end;
};

struct pb_field {
    uint32_t number;
    uint32_t wire;       /* enum pb_wire */
    uint64_t value;      /* PB_VARINT; else 0 */
    const uint8_t *data; /* PB_LEN: the contents */
    size_t len;
    const uint8_t *raw; /* all after the key */
    size_t raw_len;
};

/* What a known field must look like. */
enum pb_kind {
    PB_UNKNOWN = 0, /* anything goes */
    PB_INT,         /* one varint */
    PB_BOOL,
    PB_BYTES, /* string or bytes */
    PB_INTS,  /* repeated varints: single or packed */
    PB_KEY_VALUE,
    PB_ENCRYPTION_KEYS,
    PB_MESSAGE_ID,
};

static inline size_t pb_left(const struct pb_cursor *c)
{
    return (size_t)(c->end - c->p);
}

/* At most <max> bytes. */
static inline bool pb_varint_n(struct pb_cursor *c, uint64_t *out, size_t max)
{
    uint64_t v = 0;
    size_t n = pb_left(c) < max ? pb_left(c) : max;
    for (size_t i = 0; i < n; i++) {
        v |= (uint64_t)(c->p[i] & 0x7f) << (7 * i);
        if (c->p[i] < 0x80) {
            c->p += i + 1;
            *out = v;
            return true;
        }
    }
    return false;
}

static inline bool pb_varint(struct pb_cursor *c, uint64_t *out)
{
    return pb_varint_n(c, out, PB_VARINT_MAX);
}

static inline bool pb_key(struct pb_cursor *c, struct pb_field *f)
{
    if (c->p == c->end || (*c->p & 0xf8) == 0)
        return false;
    uint64_t key;
    if (*c->p < 0x80)
        key = *c->p++;
    else if (!pb_varint_n(c, &key, PB_KEY_MAX))
        return false;
    f->number = (uint32_t)(key >> 3);
    f->wire = (uint32_t)(key & 7);
    return true;
}

static inline bool pb_skip(struct pb_cursor *c, size_t n)
{
    if (n > pb_left(c))
        return false;
    c->p += n;
    return true;
}

static inline bool pb_contents(struct pb_cursor *c, struct pb_field *f)
{
    uint64_t n;
    if (!pb_varint_n(c, &n, PB_KEY_MAX) || n > INT32_MAX || n > pb_left(c))
        return false;
    f->data = c->p;
    f->len = (size_t)n;
    c->p += n;
    return true;
}

/* False: malformed. Call it while pb_left is not 0. */
static inline bool pb_next(struct pb_cursor *c, struct pb_field *f)
{
    if (!pb_key(c, f))
        return false;
    f->raw = c->p;
    f->value = 0;
    bool ok = false;
    if (f->wire == PB_VARINT)
        ok = pb_varint(c, &f->value);
    else if (f->wire == PB_LEN)
        ok = pb_contents(c, f);
    else if (f->wire == PB_FIXED64)
        ok = pb_skip(c, 8);
    else if (f->wire == PB_FIXED32)
        ok = pb_skip(c, 4);
    f->raw_len = (size_t)(c->p - f->raw);
    return ok;
}

/* As protobuf-c reads a bool: true when any of its bytes has one of the low seven bits set. */
static inline bool pb_bool(const struct pb_field *f)
{
    for (size_t i = 0; i < f->raw_len; i++)
        if (f->raw[i] & 0x7f)
            return true;
    return false;
}

/* The kinds that hold something to look into; <depth> is that of the message the field is in. */
bool pb_inside_ok(enum pb_kind kind, const struct pb_field *f, int depth);

static inline bool pb_kind_ok(enum pb_kind kind, const struct pb_field *f, int depth)
{
    switch (kind) {
    case PB_UNKNOWN:
    case PB_BOOL: /* protobuf-c takes a bool of any wire type */
        return true;
    case PB_INT:
        return f->wire == PB_VARINT;
    case PB_BYTES:
        return f->wire == PB_LEN;
    default:
        return pb_inside_ok(kind, f, depth);
    }
}

/* ---- writing; the caller knows that there is room ---- */

static inline size_t pb_varint_len(uint64_t v)
{
    return (size_t)(70 - __builtin_clzll(v | 1)) / 7;
}

static inline uint8_t *pb_put_varint(uint8_t *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (uint8_t)(v | 0x80);
    *p++ = (uint8_t)v;
    return p;
}

/* A field whose key fits one byte (numbers up to 15). */
static inline uint8_t *pb_put_uint(uint8_t *p, unsigned number, uint64_t v)
{
    *p++ = (uint8_t)(number << 3 | PB_VARINT);
    return pb_put_varint(p, v);
}

static inline uint8_t *pb_put_len(uint8_t *p, unsigned number, size_t len)
{
    *p++ = (uint8_t)(number << 3 | PB_LEN);
    return pb_put_varint(p, len);
}

#endif
