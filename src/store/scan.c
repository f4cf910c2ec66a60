/* The scan of a segment's groups. A group counts only when it is whole: its header and every record
 * in it good. Where the chain breaks, the rest of the file is searched for records of the same
 * generation: a group header among them that says "on disk up to here" beyond the break turns a
 * torn tail into damage. */
#include "store/scan.h"

#define SEARCH_BYTES (256u << 10)

static bool group_header_ok(struct window *w, uint32_t generation, uint64_t at, struct record *out)
{
    const struct record *r = window_at(w, at, sizeof *r);
    if (!r || !rec_header_ok(r, generation, at) || r->type != REC_GROUP)
        return false;
    *out = *r;
    return r->ledger >= sizeof *r && r->ledger % REC_ALIGN == 0 && r->ledger <= w->size_bytes - at;
}

/* The record of a group that ends at <end>; *next: the place behind it. */
static bool record_ok(struct window *w, uint64_t end, uint32_t generation, uint64_t at,
                      uint64_t *next)
{
    if (at + sizeof(struct record) > end)
        return false;
    const struct record *r = window_at(w, at, sizeof *r);
    if (!r || !rec_header_ok(r, generation, at) || r->type == REC_GROUP ||
        rec_size(r->body_len) > end - at)
        return false;
    uint32_t want = r->body_crc, crc;
    *next = at + rec_size(r->body_len);
    return window_crc(w, at + sizeof *r, r->body_len, &crc) && crc == want;
}

/* The group's end; 0: it is not whole, and *bad is where it stops being good. */
static uint64_t whole_group(struct window *w, uint32_t generation, uint64_t start, uint64_t *synced,
                            uint64_t *bad)
{
    struct record head;
    *bad = start;
    if (!group_header_ok(w, generation, start, &head))
        return 0;
    uint64_t end = start + head.ledger;
    for (uint64_t at = start + sizeof head, next; at < end; at = next) {
        *bad = at;
        if (!record_ok(w, end, generation, at, &next))
            return 0;
    }
    *synced = head.entry;
    return end;
}

static void look_at(const struct record *r, uint64_t at, uint64_t size, uint32_t generation,
                    struct scan *out)
{
    if (!rec_header_ok(r, generation, at))
        return;
    uint64_t end = at + rec_size(r->body_len);
    out->stale_end = end < size ? end : size;
    if (r->type != REC_GROUP)
        return;
    out->groups = true;
    if (r->entry > out->synced)
        out->synced = r->entry;
}

/* Behind the break: looks at every place that could hold a record. */
static void search_rest(struct window *w, uint32_t generation, struct scan *out)
{
    for (uint64_t at = out->end; at + sizeof(struct record) <= w->size_bytes;) {
        uint64_t left = w->size_bytes - at, n = left < SEARCH_BYTES ? left : SEARCH_BYTES, i = 0;
        const uint8_t *p = window_at(w, at, n);
        for (; p && i + sizeof(struct record) <= n; i += REC_ALIGN)
            look_at((const struct record *)(const void *)(p + i), at + i, w->size_bytes, generation,
                    out);
        if (!p)
            return;
        at += i;
    }
}

static enum tg_err each_record(struct window *w, uint64_t start, uint64_t end, scan_fn fn,
                               void *ctx)
{
    enum tg_err e = TG_OK;
    for (uint64_t at = start + sizeof(struct record); !e && at < end;) {
        const struct record *r = window_at(w, at, sizeof *r);
        if (!r)
            return TG_EIO;
        struct record copy = *r;
        e = fn(ctx, &copy, at);
        at += rec_size(copy.body_len);
    }
    return e;
}

enum tg_err scan_segment(struct window *w, uint32_t generation, scan_fn fn, void *ctx,
                         struct scan *out)
{
    *out = (struct scan){.end = SEG_DATA_START};
    for (uint64_t end; (end = whole_group(w, generation, out->end, &out->synced, &out->bad));) {
        out->groups = true;
        enum tg_err e = fn ? each_record(w, out->end, end, fn, ctx) : TG_OK;
        if (e) {
            out->bad = out->end;
            return e;
        }
        out->end = end;
    }
    search_rest(w, generation, out);
    return w->error ? TG_EIO : TG_OK;
}
