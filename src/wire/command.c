/* command.c - commands by way of protobuf-c: any type, at leisure.
 *
 * protobuf-c keeps enums open, knows nothing of "the sub-message must fit the type", and recurses
 * as deep as its input says; the three checks here close that. What command_unpack returns has a
 * known type and exactly the sub-message of that type. */
#include "wire/command.h"

#include "base/bytes.h"
#include "wire/arena.h"
#include "wire/pb.h"

enum { FRAME_HEAD = 8 }; /* total and cmdSize */

/* Whether messages nest no deeper than PB_DEPTH_MAX. Malformed parts count as shallow: protobuf-c
 * refuses them before it goes into them. */
static bool shallow(const ProtobufCMessageDescriptor *desc, const uint8_t *p, size_t len, int depth)
{
    if (depth > PB_DEPTH_MAX)
        return false;
    struct pb_cursor c = {p, p + len};
    while (pb_left(&c)) {
        struct pb_field f;
        if (!pb_next(&c, &f))
            return true;
        if (f.wire != PB_LEN)
            continue;
        const ProtobufCFieldDescriptor *fd =
            protobuf_c_message_descriptor_get_field(desc, f.number);
        if (fd && fd->type == PROTOBUF_C_TYPE_MESSAGE &&
            !shallow(fd->descriptor, f.data, f.len, depth + 1))
            return false;
    }
    return true;
}

/* The sub-message whose field number is the type is there, and no other. */
static bool fits_its_type(const Pulsar__Proto__BaseCommand *cmd)
{
    const ProtobufCMessageDescriptor *desc = &pulsar__proto__base_command__descriptor;
    bool found = false;
    for (unsigned i = 0; i < desc->n_fields; i++) {
        const ProtobufCFieldDescriptor *fd = &desc->fields[i];
        if (fd->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        const void *sub;
        memcpy(&sub, (const char *)cmd + fd->offset, sizeof sub);
        if (!sub)
            continue;
        if (fd->id != (uint32_t)cmd->type)
            return false;
        found = true;
    }
    return found;
}

Pulsar__Proto__BaseCommand *command_unpack(struct arena *a, const uint8_t *p, size_t len)
{
    if (len >= PB_DEEP_BYTES && !shallow(&pulsar__proto__base_command__descriptor, p, len, 1))
        return NULL;
    Pulsar__Proto__BaseCommand *cmd =
        pulsar__proto__base_command__unpack(arena_allocator(a), len, p);
    return cmd && fits_its_type(cmd) ? cmd : NULL;
}

int command_peek_type(const uint8_t *p, size_t len)
{
    struct pb_cursor c = {p, p + len};
    int32_t type = 0;
    while (pb_left(&c)) {
        struct pb_field f;
        if (!pb_next(&c, &f))
            return 0;
        if (f.number == 1 && f.wire == PB_VARINT)
            type = (int32_t)(uint32_t)f.value;
    }
    return type > 0 ? type : 0;
}

const char *command_type_name(int type)
{
    const ProtobufCEnumValue *v =
        protobuf_c_enum_descriptor_get_value(&pulsar__proto__base_command__type__descriptor, type);
    return v ? v->name : "unknown";
}

size_t command_frame_len(const Pulsar__Proto__BaseCommand *cmd)
{
    return FRAME_HEAD + pulsar__proto__base_command__get_packed_size(cmd);
}

void command_frame_write(const Pulsar__Proto__BaseCommand *cmd, uint8_t *out)
{
    size_t n = pulsar__proto__base_command__pack(cmd, out + FRAME_HEAD);
    put_be32(out, (uint32_t)n + 4);
    put_be32(out + 4, (uint32_t)n);
}
