/* frame_fuzz.c - any bytes as a stream: what frame_parse reports lies inside the input, a prefix of
 * a frame is never taken for more than it is, and a body's parts lie inside the body. The first
 * byte chooses the largest frame allowed. */
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "wire/frame.h"
#include "wire/metadata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_frame(const uint8_t *p, size_t len, const struct frame *f)
{
    TG_ASSERT(f->frame_len <= len && f->command == p + 8);
    TG_ASSERT(f->command_len > 0 && 8 + (size_t)f->command_len <= f->frame_len);
    if (!f->has_body)
        return;
    TG_ASSERT(f->body_len >= 4 && f->body + f->body_len == p + f->frame_len);
    (void)frame_checksum_ok(f);
    struct metadata_brief b;
    const char *why = NULL;
    if (metadata_scan(f->body, f->body_len, &b, &why) == TG_OK)
        TG_ASSERT((size_t)b.payload_off + b.payload_len == f->body_len);
    else
        TG_ASSERT(why);
}

/* Each shorter prefix wants more, and never more than the whole frame. */
static void check_prefixes(const uint8_t *p, size_t max_frame, const struct frame *whole)
{
    for (size_t n = 0; n < whole->frame_len; n++) {
        struct frame f;
        size_t need = 0;
        const char *why = NULL;
        TG_ASSERT(frame_parse(p, n, max_frame, &f, &need, &why) == FRAME_PARTIAL);
        TG_ASSERT(need > n && need <= whole->frame_len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t max_frame = (size_t)data[0] * 64, need = 0;
    const uint8_t *p = data + 1;
    size_t len = size - 1;
    struct frame f;
    const char *why = NULL;
    switch (frame_parse(p, len, max_frame, &f, &need, &why)) {
    case FRAME_OK:
        check_frame(p, len, &f);
        check_prefixes(p, max_frame, &f);
        break;
    case FRAME_PARTIAL:
        TG_ASSERT(need > len && (need == 8 || need <= max_frame + 4));
        break;
    case FRAME_BAD:
        TG_ASSERT(why);
        break;
    }
    return 0;
}
