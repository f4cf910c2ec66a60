/* The registry. Two counts per segment follow every change here, and nowhere else: live_runs (0 and
 * sealed: recyclable) and live_bytes. The open segment's runs are never counted dead, because they
 * may still grow; that is made up for when it is sealed. */
#include "store/registry.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define FIRST_ITEMS 16

void registry_init(struct registry *r)
{
    memset(r, 0, sizeof *r);
    r->segments_tail = &r->segments;
}

static void ledger_free(struct ledger *l)
{
    for (uint32_t i = 0; i < l->run_count; i++)
        free(l->runs[i].items);
    free(l->runs);
    free(l);
}

void registry_fini(struct registry *r)
{
    uint32_t at = 0;
    for (struct ledger *l; (l = idmap_next(&r->ledgers, &at));)
        ledger_free(l);
    idmap_fini(&r->ledgers);
    while (r->segments) {
        struct segment *next = r->segments->next;
        segment_free(r->segments);
        r->segments = next;
    }
}

struct ledger *registry_ledger(struct registry *r, uint64_t id)
{
    return idmap_get(&r->ledgers, id);
}

static struct ledger *ledger_add(struct registry *r, uint64_t id, uint64_t last_entry)
{
    struct ledger *l = xcalloc(1, sizeof *l);
    l->id = id;
    l->last_entry = last_entry;
    idmap_put(&r->ledgers, id, l);
    return l;
}

void registry_restore(struct registry *r, const struct footer_ledger *from)
{
    if (registry_ledger(r, from->ledger))
        return;
    struct ledger *l = ledger_add(r, from->ledger, from->last_entry);
    l->trimmed_to = l->trim_logged = from->trimmed_to;
}

void registry_add_segment(struct registry *r, struct segment *s)
{
    s->next = NULL;
    *r->segments_tail = s;
    r->segments_tail = &s->next;
    r->segment_count++;
    if (s->sealed)
        r->newest_sealed = s;
    else
        r->open = s;
}

static struct run *run_add(struct ledger *l, struct segment *s, uint64_t first)
{
    if (l->run_count == l->run_cap) {
        l->run_cap = l->run_cap ? l->run_cap * 2 : 4;
        l->runs = xrealloc(l->runs, l->run_cap * sizeof *l->runs);
    }
    if (s->ledger_count == s->ledger_cap) {
        s->ledger_cap = s->ledger_cap ? s->ledger_cap * 2 : FIRST_ITEMS;
        s->ledgers = xrealloc(s->ledgers, s->ledger_cap * sizeof *s->ledgers);
    }
    s->ledgers[s->ledger_count++] = l->id;
    s->live_runs++;
    struct run *run = &l->runs[l->run_count++];
    *run = (struct run){.seg = s, .first = first};
    return run;
}

enum tg_err registry_entry(struct registry *r, const struct record *rec, uint64_t offset)
{
    struct segment *s = r->open;
    struct ledger *l = registry_ledger(r, rec->ledger);
    if (!l)
        l = ledger_add(r, rec->ledger, rec->entry);
    else if (rec->entry != l->last_entry + 1)
        return TG_ECORRUPT;
    l->last_entry = rec->entry;
    struct run *run = l->run_count ? &l->runs[l->run_count - 1] : NULL;
    if (!run || run->seg != s)
        run = run_add(l, s, rec->entry);
    if (run->count == run->cap) {
        run->cap = run->cap ? run->cap * 2 : FIRST_ITEMS;
        run->items = xrealloc(run->items, run->cap * sizeof *run->items);
    }
    run->items[run->count++] = (struct footer_item){
        .offset_units = (uint32_t)(offset / REC_ALIGN),
        .body_len = rec->body_len,
        .messages = rec->messages,
    };
    uint64_t bytes = rec_size(rec->body_len);
    run->bytes += bytes;
    run->live_bytes += bytes;
    s->live_bytes += bytes;
    s->items++;
    return TG_OK;
}

static void run_set_live(struct run *run, uint64_t live_bytes)
{
    run->seg->live_bytes -= run->live_bytes - live_bytes;
    run->live_bytes = live_bytes;
}

/* Brings the live counts in line with trimmed_to. */
static void account_trim(const struct registry *r, struct ledger *l)
{
    for (; l->dead < l->run_count; l->dead++) {
        struct run *run = &l->runs[l->dead];
        if (run->seg == r->open || run->first >= l->trimmed_to)
            return;
        uint64_t gone = l->trimmed_to - run->first;
        if (gone < run->count) {
            uint64_t live =
                (uint64_t)((unsigned __int128)run->bytes * (run->count - gone) / run->count);
            run_set_live(run, live);
            return;
        }
        run_set_live(run, 0);
        run->seg->live_runs--;
    }
}

void registry_sealed_run(struct registry *r, struct segment *s, const struct footer_run *from,
                         uint64_t items_offset)
{
    struct ledger *l = registry_ledger(r, from->ledger);
    if (!l)
        return; /* dropped since */
    struct run *run = run_add(l, s, from->first);
    run->count = from->count;
    run->bytes = run->live_bytes = from->bytes;
    run->items_offset = items_offset;
    s->live_bytes += from->bytes;
    account_trim(r, l);
}

void registry_trim(struct registry *r, uint64_t ledger, uint64_t first_needed)
{
    struct ledger *l = registry_ledger(r, ledger);
    if (!l)
        return;
    if (first_needed > l->last_entry + 1)
        first_needed = l->last_entry + 1;
    if (first_needed <= l->trimmed_to)
        return;
    l->trimmed_to = first_needed;
    account_trim(r, l);
}

void registry_drop(struct registry *r, uint64_t ledger)
{
    struct ledger *l = idmap_take(&r->ledgers, ledger);
    if (!l)
        return;
    for (uint32_t i = l->dead; i < l->run_count; i++) {
        struct run *run = &l->runs[i];
        run_set_live(run, 0);
        run->seg->live_runs--;
        if (run->seg == r->open)
            r->open->items -= run->count;
    }
    ledger_free(l);
}

uint64_t registry_footer_bound(const struct registry *r, uint64_t more)
{
    uint64_t runs = r->open->live_runs + more;
    uint64_t ledgers = r->ledgers.count + more;
    uint64_t body = sizeof(struct footer_head) + runs * sizeof(struct footer_run) +
                    ledgers * sizeof(struct footer_ledger) +
                    (r->open->items + more) * sizeof(struct footer_item);
    return rec_size(body) + sizeof(struct seg_trailer);
}

struct footer_out {
    struct footer_run *runs;
    struct footer_ledger *ledgers;
    struct footer_item *items;
    uint64_t item;
};

static void footer_add_ledger(struct footer_out *out, const struct ledger *l,
                              const struct segment *open)
{
    *out->ledgers++ = (struct footer_ledger){l->id, l->last_entry, l->trimmed_to};
    const struct run *run = l->run_count ? &l->runs[l->run_count - 1] : NULL;
    if (!run || run->seg != open)
        return;
    *out->runs++ = (struct footer_run){
        .ledger = l->id,
        .first = run->first,
        .first_item = out->item,
        .bytes = run->bytes,
        .count = run->count,
    };
    memcpy(out->items + out->item, run->items, run->count * sizeof *run->items);
    out->item += run->count;
}

uint8_t *registry_footer(const struct registry *r, uint64_t *body_len, uint64_t *head_len)
{
    struct footer_head head = {
        .runs = r->open->live_runs, .ledgers = r->ledgers.count, .items = r->open->items};
    uint64_t runs_at = sizeof head;
    uint64_t ledgers_at = runs_at + head.runs * sizeof(struct footer_run);
    *head_len = ledgers_at + head.ledgers * sizeof(struct footer_ledger);
    *body_len = *head_len + head.items * sizeof(struct footer_item);
    uint8_t *body = xmalloc(*body_len);
    memcpy(body, &head, sizeof head);
    struct footer_out out = {
        .runs = (struct footer_run *)(void *)(body + runs_at),
        .ledgers = (struct footer_ledger *)(void *)(body + ledgers_at),
        .items = (struct footer_item *)(void *)(body + *head_len),
    };
    uint32_t at = 0;
    for (struct ledger *l; (l = idmap_next(&r->ledgers, &at));)
        footer_add_ledger(&out, l, r->open);
    TG_ASSERT(out.item == head.items && (uint8_t *)out.runs == body + ledgers_at);
    return body;
}

void registry_sealed(struct registry *r, uint64_t footer_offset)
{
    struct segment *s = r->open;
    uint64_t items_at = footer_offset + sizeof(struct record) + sizeof(struct footer_head) +
                        s->live_runs * sizeof(struct footer_run) +
                        r->ledgers.count * sizeof(struct footer_ledger);
    s->sealed = true;
    r->newest_sealed = s;
    r->open = NULL;
    uint32_t at = 0; /* the order in which registry_footer wrote them */
    for (struct ledger *l; (l = idmap_next(&r->ledgers, &at));) {
        l->trim_logged = l->trimmed_to; /* the footer's table says it */
        struct run *run = l->run_count ? &l->runs[l->run_count - 1] : NULL;
        if (!run || run->seg != s)
            continue;
        free(run->items);
        run->items = NULL;
        run->items_offset = items_at;
        items_at += run->count * sizeof(struct footer_item);
        account_trim(r, l);
    }
}

struct segment *registry_recyclable(const struct registry *r)
{
    for (struct segment *s = r->segments; s; s = s->next)
        if (s->sealed && s->live_runs == 0 && s->pins == 0 && s != r->newest_sealed)
            return s;
    return NULL;
}

static void ledger_forget_segment(struct ledger *l, const struct segment *s)
{
    uint32_t kept = 0, dead = l->dead;
    for (uint32_t i = 0; i < l->run_count; i++) {
        if (l->runs[i].seg == s) {
            if (i < dead)
                l->dead--;
            continue;
        }
        l->runs[kept++] = l->runs[i];
    }
    l->run_count = kept;
}

void registry_remove_segment(struct registry *r, struct segment *s)
{
    for (uint32_t i = 0; i < s->ledger_count; i++) {
        struct ledger *l = registry_ledger(r, s->ledgers[i]);
        if (l)
            ledger_forget_segment(l, s);
    }
    struct segment **at = &r->segments;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    if (!s->next)
        r->segments_tail = at;
    r->segment_count--;
}

uint32_t ledger_find_run(const struct ledger *l, uint64_t first)
{
    uint32_t lo = 0, hi = l->run_count; /* the first run that ends after <first> */
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (l->runs[mid].first + l->runs[mid].count <= first)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}
