/* Blocks and batches: allocation and growth, nothing else. Their life is in port.c (owner) and
 * committer.c. */
#include "store/block.h"

#include <stdlib.h>

#include "base/alloc.h"

#define FIRST_ITEMS 64

struct block *block_new(uint32_t cap)
{
    struct block *b = xmalloc(sizeof *b + cap);
    *b = (struct block){.cap = cap};
    return b;
}

struct batch *batch_new(struct log_port *port)
{
    struct batch *b = xcalloc(1, sizeof *b);
    b->port = port;
    return b;
}

void batch_free(struct batch *b)
{
    free(b->items);
    free(b->trims);
    free(b);
}

void batch_reset(struct batch *b)
{
    b->next = NULL;
    b->block = NULL;
    b->from = b->to = 0;
    b->lost = false;
    b->count = b->trim_count = 0;
}

void batch_add_item(struct batch *b, void *ctx, uint32_t offset)
{
    if (b->count == b->cap) {
        b->cap = b->cap ? b->cap * 2 : FIRST_ITEMS;
        b->items = xrealloc(b->items, b->cap * sizeof *b->items);
    }
    b->items[b->count++] = (struct item){ctx, offset};
}

void batch_add_trim(struct batch *b, uint64_t ledger, uint64_t first_needed)
{
    /* One dispatcher trims the same ledger again and again: the last word counts. */
    if (b->trim_count && b->trims[b->trim_count - 1].ledger == ledger) {
        b->trims[b->trim_count - 1].first_needed = first_needed;
        return;
    }
    if (b->trim_count == b->trim_cap) {
        b->trim_cap = b->trim_cap ? b->trim_cap * 2 : FIRST_ITEMS;
        b->trims = xrealloc(b->trims, b->trim_cap * sizeof *b->trims);
    }
    b->trims[b->trim_count++] = (struct trim){ledger, first_needed};
}
