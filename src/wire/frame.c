/* frame.c - cuts the byte stream into frames.
 *
 * Everything is compared as "what is left" after a subtraction that can't wrap, never as a sum of
 * sizes that a peer chose. A frame is refused as early as its sizes are known to be wrong, so a
 * peer can't make the broker buffer for a frame that will be refused in the end. */
#include "wire/frame.h"

#include "base/bytes.h"
#include "base/crc32c.h"

enum {
    SIZE_FIELD = 4,
    FRAME_HEAD = 2 * SIZE_FIELD, /* total and cmdSize */
    CHECKSUM_FIELD = 2 + 4,      /* magic and CRC */
};

static enum frame_status bad(const char **why, const char *reason)
{
    *why = reason;
    return FRAME_BAD;
}

static enum frame_status partial(size_t *need, size_t n)
{
    *need = n;
    return FRAME_PARTIAL;
}

/* What follows the command, if anything does. */
static enum frame_status parse_body(const uint8_t *p, uint32_t len, struct frame *out,
                                    const char **why)
{
    if (len >= 2 && get_be16(p) == FRAME_MAGIC_CHECKSUM) {
        if (len < CHECKSUM_FIELD)
            return bad(why, "frame ends inside its checksum");
        out->has_checksum = true;
        out->checksum = get_be32(p + 2);
        p += CHECKSUM_FIELD;
        len -= CHECKSUM_FIELD;
    }
    if (len < SIZE_FIELD)
        return bad(why, "frame ends before its metadata size");
    out->has_body = true;
    out->body = p;
    out->body_len = len;
    return FRAME_OK;
}

enum frame_status frame_parse(const uint8_t *p, size_t len, size_t max_frame, struct frame *out,
                              size_t *need, const char **why)
{
    if (len < SIZE_FIELD)
        return partial(need, FRAME_HEAD);
    uint32_t total = get_be32(p);
    if (total > max_frame)
        return bad(why, "frame larger than allowed");
    if (total <= SIZE_FIELD)
        return bad(why, "frame too short for a command");
    if (len < FRAME_HEAD)
        return partial(need, SIZE_FIELD + (size_t)total);
    uint32_t after = total - SIZE_FIELD; /* command and body */
    uint32_t command_len = get_be32(p + SIZE_FIELD);
    if (command_len == 0)
        return bad(why, "empty command");
    if (command_len > after)
        return bad(why, "command larger than its frame");
    if (len - SIZE_FIELD < total)
        return partial(need, SIZE_FIELD + (size_t)total);

    *out = (struct frame){
        .command = p + FRAME_HEAD,
        .command_len = command_len,
        .frame_len = SIZE_FIELD + (size_t)total,
    };
    if (command_len == after)
        return FRAME_OK;
    return parse_body(p + FRAME_HEAD + command_len, after - command_len, out, why);
}

bool frame_checksum_ok(const struct frame *f)
{
    return !f->has_checksum || crc32c(0, f->body, f->body_len) == f->checksum;
}
