/* The scan of a segment's groups. A group counts only when it is whole: its header and every record
 * in it good. Where the chain breaks, the rest of the file is searched for records of the same
 * generation: a group header among them that says "on disk up to here" beyond the break turns a
 * torn tail into damage. */
#include "store/scan.h"

static const struct record *rec_at(const uint8_t *buf, uint64_t offset)
{
    return (const struct record *)(const void *)(buf + offset);
}

static bool group_header_ok(const uint8_t *buf, uint64_t size, uint32_t generation, uint64_t at)
{
    if (at + sizeof(struct record) > size)
        return false;
    const struct record *r = rec_at(buf, at);
    return rec_header_ok(r, generation, at) && r->type == REC_GROUP &&
           r->ledger >= sizeof(struct record) && r->ledger % REC_ALIGN == 0 &&
           r->ledger <= size - at;
}

static bool record_ok(const uint8_t *buf, uint64_t end, uint32_t generation, uint64_t at)
{
    if (at + sizeof(struct record) > end)
        return false;
    const struct record *r = rec_at(buf, at);
    return rec_header_ok(r, generation, at) && r->type != REC_GROUP &&
           rec_size(r->body_len) <= end - at && crc32c(0, r + 1, r->body_len) == r->body_crc;
}

/* The group's end; 0: it is not whole, and *bad is where it stops being good. */
static uint64_t whole_group(const uint8_t *buf, uint64_t size, uint32_t generation, uint64_t start,
                            uint64_t *bad)
{
    *bad = start;
    if (!group_header_ok(buf, size, generation, start))
        return 0;
    uint64_t end = start + rec_at(buf, start)->ledger;
    uint64_t at = start + sizeof(struct record);
    while (at < end) {
        *bad = at;
        if (!record_ok(buf, end, generation, at))
            return 0;
        at += rec_size(rec_at(buf, at)->body_len);
    }
    return end;
}

/* Behind the break: looks at every place that could hold a record. */
static void search_rest(const uint8_t *buf, uint64_t size, uint32_t generation, struct scan *out)
{
    for (uint64_t at = out->end; at + sizeof(struct record) <= size; at += REC_ALIGN) {
        const struct record *r = rec_at(buf, at);
        if (!rec_header_ok(r, generation, at))
            continue;
        uint64_t end = at + rec_size(r->body_len);
        out->stale_end = end < size ? end : size;
        if (r->type != REC_GROUP)
            continue;
        out->groups = true;
        if (r->entry > out->synced)
            out->synced = r->entry;
    }
}

static enum tg_err each_record(const uint8_t *buf, uint64_t start, uint64_t end, scan_fn fn,
                               void *ctx)
{
    enum tg_err e = TG_OK;
    for (uint64_t at = start + sizeof(struct record); !e && at < end;) {
        const struct record *r = rec_at(buf, at);
        e = fn(ctx, r, at);
        at += rec_size(r->body_len);
    }
    return e;
}

enum tg_err scan_segment(const uint8_t *buf, uint64_t size, uint32_t generation, scan_fn fn,
                         void *ctx, struct scan *out)
{
    *out = (struct scan){.end = SEG_DATA_START};
    for (uint64_t end; (end = whole_group(buf, size, generation, out->end, &out->bad));) {
        out->groups = true;
        out->synced = rec_at(buf, out->end)->entry;
        enum tg_err e = fn ? each_record(buf, out->end, end, fn, ctx) : TG_OK;
        if (e) {
            out->bad = out->end;
            return e;
        }
        out->end = end;
    }
    search_rest(buf, size, generation, out);
    return TG_OK;
}
