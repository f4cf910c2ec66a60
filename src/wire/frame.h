/* frame.h - where a frame begins and ends, and its checksum. No protobuf here.
 *
 *   simple    u32 total | u32 cmdSize | command
 *   payload   u32 total | u32 cmdSize | command | [0x0e01 | u32 crc32c] | u32 metaSize | metadata |
 * payload
 *
 * All big-endian; total counts what follows it. The checksum covers metaSize, metadata and payload,
 * which this project calls the *body* of an entry: it is what the store keeps. Pure; any thread. */
#ifndef WIRE_FRAME_H
#define WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    FRAME_MAX_MESSAGE = 5 * 1024 * 1024, /* default maxMessageSize: metadata + payload */
    FRAME_OVERHEAD = 10 * 1024,          /* what a frame may have beyond its message */
    FRAME_MAX_BEFORE_CONNECT = 64 * 1024,
    FRAME_MAGIC_CHECKSUM = 0x0e01,
};

struct frame {
    const uint8_t *command; /* borrowed from the input */
    uint32_t command_len;
    bool has_body;
    bool has_checksum;
    uint32_t checksum;
    const uint8_t *body; /* metaSize onwards */
    uint32_t body_len;
    size_t frame_len; /* bytes of input this frame takes */
};

/* Its first byte: both sizes stand before the command. */
static inline const uint8_t *frame_start(const struct frame *f)
{
    return f->command - 2 * sizeof(uint32_t);
}

enum frame_status {
    FRAME_OK,
    FRAME_PARTIAL, /* *need bytes in all make it whole (or at least 8) */
    FRAME_BAD,     /* *why says what; the stream can't be read further */
};

/* Looks at the first frame of <p>. A total over <max_frame> is FRAME_BAD at once. */
enum frame_status frame_parse(const uint8_t *p, size_t len, size_t max_frame, struct frame *out,
                              size_t *need, const char **why);

/* True when the body matches the checksum. */
bool frame_checksum_ok(const struct frame *f);

#endif
