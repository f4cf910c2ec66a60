/* Footers. The head (counts, runs, ledgers) has a checksum of its own, in the trailer, because it
 * is all that a start reads; the record's covers the items as well. */
#include "store/footer.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/disk.h"
#include "store/segment.h"

static void take_head(struct footer *ft, uint8_t *head)
{
    const struct seg_trailer *t = &ft->trailer;
    struct footer_head h = {0};
    if (t->head_len >= sizeof h)
        memcpy(&h, head, sizeof h);
    uint64_t ledgers_at = sizeof h + h.runs * sizeof(struct footer_run);
    uint64_t head_len = ledgers_at + h.ledgers * sizeof(struct footer_ledger);
    if (t->head_len != head_len || crc32c(0, head, head_len) != t->head_crc ||
        h.items > (t->body_len - head_len) / sizeof(struct footer_item)) {
        free(head);
        return;
    }
    ft->good = true;
    ft->head = head;
    ft->run_count = h.runs;
    ft->ledger_count = h.ledgers;
    ft->item_count = h.items;
    ft->runs = (const struct footer_run *)(const void *)(head + sizeof h);
    ft->ledgers = (const struct footer_ledger *)(const void *)(head + ledgers_at);
    ft->items_offset = t->footer_offset + sizeof(struct record) + head_len;
}

int footer_read(const struct ls_faults *f, int fd, uint32_t generation, uint64_t size_bytes,
                struct footer *out)
{
    *out = (struct footer){.good = false};
    if (size_bytes < SEG_DATA_START + sizeof out->trailer)
        return 0;
    int rc = disk_read(f, fd, &out->trailer, sizeof out->trailer, size_bytes - sizeof out->trailer);
    if (rc || !seg_trailer_ok(&out->trailer, generation, size_bytes))
        return rc;
    uint8_t *head = xmalloc(out->trailer.head_len + 1);
    rc = disk_read(f, fd, head, out->trailer.head_len,
                   out->trailer.footer_offset + sizeof(struct record));
    if (rc)
        free(head);
    else
        take_head(out, head);
    return rc;
}

void footer_fini(struct footer *ft)
{
    free(ft->head);
    *ft = (struct footer){.good = false};
}

void footer_forget_ledgers(struct footer *ft)
{
    if (!ft->good)
        return;
    uint64_t keep = sizeof(struct footer_head) + ft->run_count * sizeof(struct footer_run);
    ft->head = xrealloc(ft->head, keep);
    ft->runs = (const struct footer_run *)(const void *)(ft->head + sizeof(struct footer_head));
    ft->ledgers = NULL;
    ft->ledger_count = 0;
}

bool footer_whole(const struct footer *ft, struct window *w)
{
    uint64_t at = ft->trailer.footer_offset;
    const struct record *r = window_at(w, at, sizeof *r);
    if (!r || !rec_header_ok(r, ft->trailer.generation, at) || r->type != REC_FOOTER ||
        r->body_len != ft->trailer.body_len)
        return false;
    uint32_t want = r->body_crc, crc;
    return window_crc(w, at + sizeof *r, ft->trailer.body_len, &crc) && crc == want;
}

const char *footer_run_fault(const struct footer *ft, const struct footer_run *run)
{
    if (run->count == 0 || run->count > ft->item_count ||
        run->first_item > ft->item_count - run->count)
        return "the footer has a run without items";
    if (run->first > UINT64_MAX - 1 - run->count)
        return "the footer has a run beyond all entries";
    if (run->bytes < run->count * sizeof(struct record) || run->bytes > ft->trailer.footer_offset)
        return "the footer has a run of a wrong size";
    return NULL;
}
