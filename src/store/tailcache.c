/* The tail cache: committed blocks stay in memory, oldest let go first, and per ledger a ring says
 * where its cached entries lie. What nobody needs any more (trimmed) leaves its ring at once, and a
 * block without such entries is used again while it is still in the processor's cache. Entries of a
 * ledger come in order and blocks go in order, so a ring's front is always in the oldest block that
 * holds anything of that ledger.
 *
 * References of blocks are plain integers: batches come back to the owner before theirs is given
 * up, and holds are taken and released by the owner. */
#include <stdlib.h>

#include "base/alloc.h"
#include "store/engine.h"

#define RING_FIRST       8
#define BLOCK_POOL_COUNT 8 /* blocks kept for the next turn instead of freed */

/* ---- rings ---- */

struct tail *port_find_tail(struct log_port *p, uint64_t ledger)
{
    if (p->last_tail && p->last_tail->ledger == ledger)
        return p->last_tail;
    struct tail *t = idmap_get(&p->tails, ledger);
    if (t)
        p->last_tail = t;
    return t;
}

struct tail *port_add_tail(struct log_port *p, uint64_t ledger, uint64_t next_entry)
{
    struct tail *t = xcalloc(1, sizeof *t);
    t->ledger = ledger;
    t->next_entry = next_entry;
    idmap_put(&p->tails, ledger, t);
    return t;
}

void tail_forget(struct tail *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        t->ring[(t->head + i) & t->mask].block->cached--;
    free(t->ring);
    t->ring = NULL;
    t->count = t->head = t->mask = 0;
}

void port_drop_tail(struct log_port *p, uint64_t ledger)
{
    struct tail *t = idmap_take(&p->tails, ledger);
    p->last_tail = NULL;
    if (!t)
        return;
    tail_forget(t);
    free(t);
}

static void ring_grow(struct tail *t)
{
    uint32_t cap = t->ring ? (t->mask + 1) * 2 : RING_FIRST;
    struct tail_slot *ring = xmalloc(cap * sizeof *ring);
    for (uint32_t i = 0; i < t->count; i++)
        ring[i] = t->ring[(t->head + i) & t->mask];
    free(t->ring);
    t->ring = ring;
    t->head = 0;
    t->mask = cap - 1;
}

void tail_push(struct tail *t, uint64_t entry, struct block *b, uint32_t offset)
{
    if (!t->ring || t->count > t->mask)
        ring_grow(t);
    if (t->count == 0)
        t->first = entry;
    TG_ASSERT(entry == t->first + t->count);
    t->ring[(t->head + t->count) & t->mask] = (struct tail_slot){b, offset};
    t->count++;
    b->cached++;
}

static void tail_pop(struct tail *t)
{
    t->ring[t->head].block->cached--;
    t->head = (t->head + 1) & t->mask;
    t->first++;
    if (--t->count == 0)
        tail_forget(t);
}

/* ---- blocks ---- */

void block_unref(struct log_port *p, struct block *b)
{
    TG_ASSERT(b->refs > 0);
    if (--b->refs)
        return;
    budget_give(p->log->budget, BUDGET_CACHE, b->committed);
    if (b->cap == p->log->block_bytes && p->block_pool_count < BLOCK_POOL_COUNT) {
        b->next = p->block_pool;
        p->block_pool = b;
        p->block_pool_count++;
    } else {
        free(b);
    }
}

static void pop_block(struct log_port *p, const struct block *b)
{
    for (uint32_t at = 0; at < b->used;) {
        const struct record *r = (const struct record *)(const void *)(b->data + at);
        at += (uint32_t)rec_size(r->body_len);
        if (r->type != REC_ENTRY)
            continue;
        struct tail *t = port_find_tail(p, r->ledger);
        if (t && t->count && t->ring[t->head].block == b)
            tail_pop(t);
    }
}

static void evict_oldest(struct log_port *p)
{
    struct block *b = p->blocks;
    p->blocks = b->next;
    if (!p->blocks)
        p->blocks_tail = &p->blocks;
    if (b == p->open)
        p->open = NULL;
    if (b->cached)
        pop_block(p, b);
    block_unref(p, b);
}

static bool is_needless(const struct log_port *p, const struct block *b)
{
    const struct budget *budget = p->log->budget;
    return b->cached == 0 || budget_used(budget, BUDGET_CACHE) > budget->share_bytes[BUDGET_CACHE];
}

void port_evict(struct log_port *p)
{
    while (p->blocks && p->blocks != p->open && p->blocks->committed == p->blocks->used &&
           is_needless(p, p->blocks))
        evict_oldest(p);
}

void tail_trim(struct log_port *p, uint64_t ledger, uint64_t first_needed)
{
    struct tail *t = port_find_tail(p, ledger);
    while (t && t->count && t->first < first_needed)
        tail_pop(t);
}

void port_free_cache(struct log_port *p)
{
    while (p->blocks)
        evict_oldest(p);
    while (p->block_pool) {
        struct block *b = p->block_pool;
        p->block_pool = b->next;
        free(b);
    }
    uint32_t at = 0;
    for (struct tail *t; (t = idmap_next(&p->tails, &at));) {
        tail_forget(t);
        free(t);
    }
    idmap_fini(&p->tails);
    while (p->hold_pool) {
        struct ls_hold *h = p->hold_pool;
        p->hold_pool = h->next;
        free(h);
    }
}

/* ---- reading ---- */

static struct ls_hold *hold_get(struct log_port *p)
{
    struct ls_hold *h = p->hold_pool;
    if (h)
        p->hold_pool = h->next;
    else
        h = xmalloc(sizeof *h);
    h->block_count = 0;
    h->buffer = NULL;
    h->charged_bytes = 0;
    p->holds++;
    return h;
}

/* False: the hold is full. */
static bool hold_block(struct ls_hold *h, struct block *b)
{
    if (h->block_count && h->blocks[h->block_count - 1] == b)
        return true;
    if (h->block_count == HOLD_BLOCKS)
        return false;
    h->blocks[h->block_count++] = b;
    b->refs++;
    return true;
}

uint32_t port_read_cached(struct ls_port *port, uint64_t ledger, uint64_t first,
                          uint32_t max_entries, uint64_t max_bytes, struct ls_entry *out,
                          struct ls_hold **hold)
{
    struct log_port *p = (struct log_port *)port;
    struct tail *t = port_find_tail(p, ledger);
    *hold = NULL;
    if (!t || first < t->first || first - t->first >= t->count || max_entries == 0)
        return 0;
    struct ls_hold *h = hold_get(p);
    uint32_t at = (uint32_t)(first - t->first), n = 0;
    uint64_t bytes = 0;
    for (; n < max_entries && at < t->count; n++, at++) {
        const struct tail_slot *slot = &t->ring[(t->head + at) & t->mask];
        const struct record *r = (const struct record *)(void *)(slot->block->data + slot->offset);
        bytes += r->body_len;
        if ((n && bytes > max_bytes) || !hold_block(h, slot->block))
            break;
        out[n] = (struct ls_entry){
            .entry = r->entry,
            .body = (const uint8_t *)(r + 1),
            .len = r->body_len,
            .crc = r->body_crc,
            .messages = r->messages,
            .admitted_ns = r->admitted_ns,
        };
    }
    *hold = h;
    return n;
}

void port_release(struct ls_port *port, struct ls_hold *h)
{
    struct log_port *p = (struct log_port *)port;
    if (!h)
        return;
    for (uint32_t i = 0; i < h->block_count; i++)
        block_unref(p, h->blocks[i]);
    budget_give(p->log->budget, BUDGET_CACHE, h->charged_bytes);
    free(h->buffer);
    p->holds--;
    h->next = p->hold_pool;
    p->hold_pool = h;
}
