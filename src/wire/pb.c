/* pb.c - checks the small messages that lie inside others: are they well formed, and are their
 * required fields there?
 *
 * Each is described by the kinds of its fields and a mask of the required ones; one recursive walk
 * serves all. Its depth is bounded by PB_DEPTH_MAX, whatever the input says. */
#include "wire/pb.h"

struct pb_shape {
    const uint8_t *kinds; /* enum pb_kind by field number */
    uint32_t count;
    uint64_t required; /* bit n: field n */
};

static const uint8_t key_value_kinds[] = {[1] = PB_BYTES, [2] = PB_BYTES};
static const uint8_t encryption_keys_kinds[] = {[1] = PB_BYTES, [2] = PB_BYTES, [3] = PB_KEY_VALUE};
static const uint8_t message_id_kinds[] = {
    [1] = PB_INT,  [2] = PB_INT, [3] = PB_INT,        [4] = PB_INT,
    [5] = PB_INTS, [6] = PB_INT, [7] = PB_MESSAGE_ID,
};

static const struct pb_shape shapes[] = {
    [PB_KEY_VALUE] = {key_value_kinds, sizeof key_value_kinds, 1 << 1 | 1 << 2},
    [PB_ENCRYPTION_KEYS] = {encryption_keys_kinds, sizeof encryption_keys_kinds, 1 << 1 | 1 << 2},
    [PB_MESSAGE_ID] = {message_id_kinds, sizeof message_id_kinds, 1 << 1 | 1 << 2},
};

static bool message_ok(const struct pb_shape *shape, const struct pb_field *in, int depth)
{
    if (in->wire != PB_LEN || depth > PB_DEPTH_MAX)
        return false;
    struct pb_cursor c = {in->data, in->data + in->len};
    uint64_t seen = 0;
    while (pb_left(&c)) {
        struct pb_field f;
        if (!pb_next(&c, &f))
            return false;
        if (f.number >= shape->count)
            continue;
        if (!pb_kind_ok((enum pb_kind)shape->kinds[f.number], &f, depth))
            return false;
        seen |= UINT64_C(1) << f.number;
    }
    return (seen & shape->required) == shape->required;
}

static bool ints_ok(const struct pb_field *f)
{
    if (f->wire == PB_VARINT)
        return true;
    if (f->wire != PB_LEN)
        return false;
    struct pb_cursor c = {f->data, f->data + f->len};
    uint64_t ignored;
    while (pb_left(&c))
        if (!pb_varint(&c, &ignored))
            return false;
    return true;
}

bool pb_inside_ok(enum pb_kind kind, const struct pb_field *f, int depth)
{
    if (kind == PB_INTS)
        return ints_ok(f);
    return message_ok(&shapes[kind], f, depth + 1);
}
