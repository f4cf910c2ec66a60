/* command_fuzz.c - any bytes as a command: the codec of SEND by hand and protobuf-c agree, and what
 * was unpacked can be packed and unpacked again as the same type. Unknown fields are left out of
 * that: the broker writes none, and protobuf-c reads field 0 from an overlong key but writes it as
 * one byte, which it then refuses. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "wire_agree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void drop_unknown(ProtobufCMessage *m);

static void drop_unknown_below(ProtobufCMessage *m, const ProtobufCFieldDescriptor *fd)
{
    const char *at = (const char *)m + fd->offset;
    if (fd->label != PROTOBUF_C_LABEL_REPEATED) {
        ProtobufCMessage *sub;
        memcpy(&sub, at, sizeof sub);
        drop_unknown(sub);
        return;
    }
    size_t count;
    ProtobufCMessage **subs;
    memcpy(&count, (const char *)m + fd->quantifier_offset, sizeof count);
    memcpy(&subs, at, sizeof subs);
    for (size_t i = 0; i < count; i++)
        drop_unknown(subs[i]);
}

/* The members of a oneof share their place: only the one that is set may be followed. */
static bool is_set(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *fd)
{
    uint32_t which;
    if (!(fd->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
        return true;
    memcpy(&which, (const char *)m + fd->quantifier_offset, sizeof which);
    return which == fd->id;
}

/* <m> is in an arena: nothing to free. */
static void drop_unknown(ProtobufCMessage *m)
{
    if (!m)
        return;
    m->n_unknown_fields = 0;
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *fd = &m->descriptor->fields[i];
        if (fd->type == PROTOBUF_C_TYPE_MESSAGE && is_set(m, fd))
            drop_unknown_below(m, fd);
    }
}

static void check_round_trip(struct arena *a, const Pulsar__Proto__BaseCommand *cmd)
{
    size_t len = command_frame_len(cmd), need = 0;
    uint8_t *out = xmalloc(len);
    command_frame_write(cmd, out);
    struct frame f;
    const char *why = NULL;
    TG_ASSERT(frame_parse(out, len, len, &f, &need, &why) == FRAME_OK && !f.has_body);
    const Pulsar__Proto__BaseCommand *again = command_unpack(a, f.command, f.command_len);
    TG_ASSERT(again && again->type == cmd->type);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t nothing[1];
    const uint8_t *p = size ? data : nothing;
    struct arena *a = arena_new();
    const char *differ = agree_on_send(a, p, size, NULL);
    if (differ) {
        fprintf(stderr, "send: %s\n", differ);
        abort();
    }
    arena_reset(a);
    Pulsar__Proto__BaseCommand *cmd = command_unpack(a, p, size);
    if (cmd) {
        drop_unknown(&cmd->base);
        check_round_trip(a, cmd);
    }
    arena_free(a);
    return 0;
}
